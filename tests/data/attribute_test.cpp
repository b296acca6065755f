#include "data/attribute.h"

#include <nlohmann/json.hpp>

#include "tests/engine/io_testing.h"

namespace diffscm::data {
namespace {

using diffscm::testing::expect_error;
using nlohmann::json;

const Attribute kAnimal{.name = "animal", .states = {"cat", "dog", "a, b"}};
const Attribute kWidth{.name = "width", .low = 0.5, .high = 8};
const std::vector<Attribute> kBoth = {kAnimal, kWidth};

TEST(Attribute, a_state_is_its_index) {
  EXPECT_EQ(kAnimal.parse("cat"), 0);
  EXPECT_EQ(kAnimal.parse("a, b"), 2);
  EXPECT_EQ(kAnimal.show(1), "dog");
  const Attribute digit = numbered_category("digit", 10);
  EXPECT_EQ(digit.parse("7"), 7);
  EXPECT_EQ(digit.show(9), "9");
  EXPECT_EQ(Attribute{.name = "x"}.parse("+1.5"), 1.5);
  for (const char* text : {"+", "+-1", "++1", "-+1"})
    expect_error([&] { Attribute{.name = "x"}.parse(text); }, "give a finite number");
  expect_error([&] { kAnimal.parse("Cat"); }, R"(animal "Cat" is unknown: give "cat", "dog" or)");
  expect_error([&] { kAnimal.parse("0"); }, "unknown");
  expect_error([&] { kAnimal.parse(""); }, "unknown");
  for (const char* text : {"10", "-1", "07", "5.0", " 5", "five"})
    expect_error([&] { digit.parse(text); }, "is unknown: give 0 to 9");
  for (const double value : {-1.0, 3.0, 0.5, static_cast<double>(NAN)})
    expect_error([&] { kAnimal.show(value); }, "not one of its 3 states");
}

TEST(Attribute, of_many_states_the_nearest_three_are_named) {
  Attribute word{.name = "word", .states = {"anteater", "horse", "house"}};
  for (char c = 'a'; c <= 'z'; ++c) word.states.push_back(std::string(5, c));
  expect_error([&] { word.parse("antaeter"); }, R"(the nearest of 29 are "anteater", ")");
  expect_error([&] { word.parse("hors"); }, R"(are "horse", "house" and ")");
  word.states.push_back("the great white shark");
  expect_error([&] { word.parse("shark"); }, R"(are "the great white shark", ")");
  expect_error([&] { word.parse(std::string(100000, 'q')); }, R"("qqqqq")");
}

TEST(Attribute, a_number_is_itself) {
  EXPECT_EQ(kWidth.parse("2.5"), 2.5);
  EXPECT_EQ(kWidth.parse("8"), 8);
  EXPECT_EQ(kWidth.show(0.1), "0.1");
  const Attribute free{.name = "z"};
  EXPECT_EQ(free.parse("-1e30"), -1e30);
  for (const char* text : {"", "2,5", "2x", "cat", "0.4", "9", "nan", "inf", "1e999"})
    expect_error([&] { kWidth.parse(text); }, "give a number from 0.5 to 8");
  expect_error([&] { free.parse("inf"); }, "give a finite number");
}

TEST(Assignment, is_read_and_shown) {
  EXPECT_EQ(parse_assignment("animal=dog", kBoth), (Assignment{{"animal", 1}}));
  EXPECT_EQ(parse_assignment("width=3,animal=cat", kBoth),
            (Assignment{{"animal", 0}, {"width", 3}}));
  EXPECT_EQ(parse_assignment("animal=a, b,width=3", kBoth),
            (Assignment{{"animal", 2}, {"width", 3}}));
  for (const char* label : {"class=dog", "label=dog"})
    EXPECT_EQ(parse_assignment(label, kBoth), (Assignment{{"animal", 1}}));
  EXPECT_EQ(show({{"animal", 2}, {"width", 3.25}}, kBoth), "animal=a, b,width=3.25");
  EXPECT_EQ(show({{"unheard", 1}}, kBoth), "unheard=1");
}

// Columns and classes of other people's tables.
TEST(Assignment, names_and_states_may_hold_commas_and_equals_signs) {
  const std::vector<Attribute> all = {{.name = "size, cm"},
                                      {.name = "a=b"},
                                      {.name = "kind", .states = {"x", "x, n=3", "x,size, cm=1"}}};
  EXPECT_EQ(parse_assignment("kind=x, n=3", all), (Assignment{{"kind", 1}}));
  EXPECT_EQ(parse_assignment("kind=x,size, cm=2", all), (Assignment{{"kind", 0}, {"size, cm", 2}}));
  EXPECT_EQ(parse_assignment("a=b=1,size, cm=2,kind=x, n=3", all),
            (Assignment{{"a=b", 1}, {"kind", 1}, {"size, cm", 2}}));
  for (double k = 0; k < 3; ++k)
    EXPECT_EQ(parse_assignment(show({{"a=b", 7}, {"kind", k}, {"size, cm", 2}}, all), all),
              (Assignment{{"a=b", 7}, {"kind", k}, {"size, cm", 2}}));
  expect_error([&] { parse_assignment("kind=y,size, cm=2", all); }, R"(kind "y" is unknown)");
  expect_error([&] { parse_assignment("size, cm=1,2,kind=x", all); }, R"(size, cm is "1,2")");
}

TEST(Assignment, refusals_name_the_part) {
  for (const char* text : {"", "animal", "=cat", "animal=cat,", "5"})
    expect_error([&] { parse_assignment(text, kBoth); }, "");
  expect_error([&] { parse_assignment("digit", kBoth); }, R"("digit" is not NAME=VALUE)");
  expect_error([&] { parse_assignment("digit=5", kBoth); },
               R"(no attribute "digit": give "animal" or "width")");
  expect_error([&] { parse_assignment("digit=5", {}); }, "the images have no labels");
  expect_error([&] { parse_assignment("class=1", std::vector{kWidth}); }, R"(give "width")");
  expect_error([&] { parse_assignment("animal=cat,class=dog", kBoth); }, "sets animal twice");
}

TEST(Attributes, survive_a_model_file) {
  EXPECT_EQ(attributes_from_json(attributes_to_json(kBoth), "m"), kBoth);
  EXPECT_TRUE(attributes_from_json(json(), "m").empty());
  for (const char* text :
       {R"(5)", R"([5])", R"([{}])", R"([{"name": 5}])", R"([{"name": ""}])",
        R"([{"name": "a", "states": "b"}])", R"([{"name": "a", "states": ["b", "b"]}])",
        R"([{"name": "a"}, {"name": "a"}])", R"([{"name": "a", "low": 2, "high": 1}])"})
    expect_error([&] { attributes_from_json(json::parse(text), "m.safetensors"); },
                 "m.safetensors has");
}

}  // namespace
}  // namespace diffscm::data
