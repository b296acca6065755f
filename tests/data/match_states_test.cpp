#include "data/match_states.h"

#include <gtest/gtest.h>

#include "tests/engine/io_testing.h"

namespace diffscm::data {
namespace {

using Names = std::vector<std::string>;

Attribute category(Names states) {
  return {.name = "class", .states = std::move(states)};
}

// Two images of each class, as a folder of them reads.
Dataset of_classes(Names states) {
  Dataset set;
  set.name = "pets";
  set.height = set.width = set.channels = 1;
  std::vector<double> labels;
  for (size_t k = 0; k < states.size(); ++k) labels.insert(labels.end(), 2, static_cast<double>(k));
  set.pixels.assign(labels.size(), 0);
  set.add({.name = "age"}, std::vector<double>(labels.size(), 3));
  set.add(category(std::move(states)), labels);
  return set;
}

TEST(NumberStates, ByNameWhereTheDataHaveAPart) {
  Dataset set = of_classes({"dog", "wolf"});
  set.plausible = {{1}, {0}};
  number_states(set, category({"cat", "wolf", "fox", "dog"}), "the model");
  EXPECT_EQ(set.values[1], (std::vector<double>{3, 3, 1, 1}));
  EXPECT_EQ(set.values[0], std::vector<double>(4, 3));
  EXPECT_EQ(set.labels, (std::vector<int64_t>{3, 3, 1, 1}));
  EXPECT_EQ(set.classes, 4);
  EXPECT_EQ(set.label_attribute().states, (Names{"cat", "wolf", "fox", "dog"}));
  EXPECT_EQ(set.plausible_targets(3), std::vector<int64_t>{1});
}

TEST(NumberStates, ByNumberWhereEitherHasNoNames) {
  Dataset numbered = of_classes({"0", "1"});
  number_states(numbered, category({"cat", "dog", "fox"}), "the model");
  EXPECT_EQ(numbered.labels, (std::vector<int64_t>{0, 0, 1, 1}));
  EXPECT_EQ(numbered.label_attribute().states, (Names{"0", "1", "2"}));
  Dataset named = of_classes({"cat", "dog", "fox"});
  number_states(named, category({"0", "1", "2"}), "the model");
  EXPECT_EQ(named.label_attribute().states, (Names{"cat", "dog", "fox"}));
}

TEST(NumberStates, RefusesWhatNobodyCanTell) {
  Dataset set = of_classes({"cat", "dog"});
  testing::expect_error(
      [&] {
        number_states(set, category({"0", "1", "2"}), "the model");
      },
      R"(the model has 3 states, in the data "class" has 2, such as "cat": give 0 to 2)");
  testing::expect_error(
      [&] {
        number_states(set, category({"cat", "fox"}), "the model");
      },
      R"(the model has no state "dog", as in the data: give "cat" or "fox")");
  EXPECT_EQ(set.labels, (std::vector<int64_t>{0, 0, 1, 1}));
}

}  // namespace
}  // namespace diffscm::data
