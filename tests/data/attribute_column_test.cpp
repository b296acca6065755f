#include "data/attribute_column.h"

#include "data/dataset.h"
#include "engine/io/npz.h"
#include "engine/io/png.h"
#include "tests/engine/io_testing.h"

namespace diffscm::data {
namespace {

using diffscm::testing::expect_error;
using diffscm::testing::put;
using diffscm::testing::TemporaryFolder;
using io::NpyArray;
using io::NpyType;
using States = std::vector<std::string>;
using Numbers = std::vector<double>;

TEST(AttributeOfCells, DecidesByWhatStandsThere) {
  const auto of = [](const std::set<std::string>& cells) {
    const Attribute a = attribute_of_cells("a", cells, "t.csv");
    EXPECT_EQ(a.name, "a");
    return a.states;
  };
  EXPECT_EQ(of({"m", "f", "x-1"}), (States{"f", "m", "x-1"}));
  EXPECT_EQ(of({"10", "9", "-1"}), (States{"-1", "9", "10"}));
  EXPECT_EQ(of({"0.5", "1"}), States{});
  EXPECT_EQ(of({"1.0", "2.0"}), States{});  // not whole numbers as they are written
  EXPECT_EQ(of({"1e3"}), States{});
  std::set<std::string> few;
  for (int i = 0; i < 20; ++i) few.insert(std::to_string(i));
  EXPECT_EQ(of(few).size(), 20u);
  few.insert("20");
  EXPECT_EQ(of(few), States{});
  expect_error([&] { of({"1", "x"}); }, R"(t.csv: "a" is 1 and "x": give all of them numbers)");
  expect_error([&] { of({"1.5", "nan"}); }, R"("a" is nan: give finite numbers)");
  expect_error([&] { of({"-inf"}); }, "is -inf");
  expect_error([&] { of({"caf\xe9"}); }, "not named in UTF-8");
}

class Pictures : public ::testing::Test {
 protected:
  void picture(const std::string& name) {
    std::filesystem::create_directories((folder_ / name).parent_path());
    io::write_png(folder_ / name, {1, 2, 1, {0, 255}});
  }
  Dataset load(Split split = Split::train) { return load_dataset(folder_.path(), split); }
  void refuse(const std::string& table, const char* message) {
    put(folder_ / "labels.csv", table);
    expect_error([&] { load(); }, message);
  }
  TemporaryFolder folder_;
};

TEST_F(Pictures, HaveTheAttributesOfATable) {
  for (const char* name : {"a.png", "b.png", "c,d.png"}) picture(name);
  put(folder_ / "labels.csv",
      "file,digit,thickness,sex\r\nb.png,7,2.5,m\r\n\"c,d.png\", 3 "
      ",1e1,f\r\na.png,7,-1,m\r\nz.png,3,"
      "2,f\r\n");
  const Dataset set = load();
  EXPECT_EQ(set.attributes, (std::vector{Attribute{.name = "digit", .states = {"3", "7"}},
                                         Attribute{.name = "thickness"},
                                         Attribute{.name = "sex", .states = {"f", "m"}}}));
  EXPECT_EQ(set.values, (std::vector<Numbers>{{1, 1, 0}, {-1, 2.5, 10}, {1, 1, 0}}));
  EXPECT_EQ(set.classes, 2);
  EXPECT_EQ(set.labels, (std::vector<int64_t>{1, 1, 0}));
  EXPECT_NE(set.notes.at(0).find("lists 1 file that is not there: \"z.png\""), std::string::npos);

  refuse("file,a,b\na.png,1,2\nb.png,1,2\n", R"(c,d.png" is not listed in)");
  refuse("file,a,b\na.png,1,2\na.png,1,2\n", R"(line 3: "a.png" has a line already)");
  refuse("file,a,b\na.png,1,2\nb.png,1\n", "line 3");
  refuse("file,a,a\na.png,1,2\n", "twice");
  const std::string rest = "b.png,1,2\n\"c,d.png\",1,2\n";
  refuse("file,a,b\na.png,1,\n" + rest, R"(line 2: "b" is empty)");
  refuse("file,a,b\na.png,inf,3\n" + rest, R"("a" is inf: give finite numbers)");
  refuse("file,a,b\na.png,1,x\n" + rest, R"("b" is 2 and "x")");
}

TEST_F(Pictures, MayHaveOneNumber) {
  picture("a.png");
  picture("b.png");
  put(folder_ / "labels.csv", "file,thickness\na.png,2.5\nb.png,3\n");
  EXPECT_EQ(load().attributes, std::vector{Attribute{.name = "thickness"}});
  EXPECT_EQ(load().values, (std::vector<Numbers>{{2.5, 3}}));
  EXPECT_EQ(load().classes, 0);
  // Alone, whole numbers are labels, however many.
  put(folder_ / "labels.csv", "file,letter\na.png,46\nb.png,3\n");
  EXPECT_EQ(load().attributes, std::vector{numbered_category("letter", 47)});
  refuse("file,thickness\na.png,2.5\nb.png,x\n", R"("thickness" is 2.5 and "x")");
  refuse("file,thickness\na.png,2.5\nb.png,nan\n", R"(is nan: give finite numbers)");
}

TEST_F(Pictures, OfBothSplitsHaveTheSameAttributes) {
  picture("train/a.png");
  picture("test/a.png");
  put(folder_ / "train/labels.csv", "file,age,sex\na.png,1,m\n");
  put(folder_ / "test/labels.csv", "file,sex,age\na.png,f,2\n");
  const Dataset train = load(), test = load(Split::test);
  EXPECT_EQ(train.attributes, test.attributes);
  EXPECT_EQ(train.attributes[0], (Attribute{.name = "age", .states = {"1", "2"}}));
  EXPECT_EQ(test.values, (std::vector<Numbers>{{1}, {0}}));
  for (const char* table : {"file,sex,height\na.png,f,2\n", "file,sex\na.png,f\n"}) {
    put(folder_ / "test/labels.csv", table);
    for (const Split split : {Split::train, Split::test})
      expect_error([&] { load(split); }, "name different attributes for training and testing");
  }
}

NpyArray images(int64_t n) {
  return NpyArray::from(std::vector<uint8_t>(static_cast<size_t>(n), 7), {n, 1, 1});
}
NpyArray ints(const std::vector<int64_t>& v) {
  return NpyArray::from(v, {std::ssize(v)});
}
NpyArray floats(const std::vector<float>& v) {
  return NpyArray::from(v, {std::ssize(v)});
}

TEST(NpzAttributes, AreFurtherArraysOfOneNumberPerImage) {
  const TemporaryFolder folder;
  const std::string path = folder / "toy.npz";
  std::vector<int64_t> ages(21);
  for (size_t i = 0; i < 21; ++i) ages[i] = static_cast<int64_t>(20 + i);
  const auto n = static_cast<int64_t>(ages.size());
  io::write_npz(path, {{"images", images(n)},
                       {"age", ints(ages)},
                       {"thickness", floats(std::vector<float>(21, 2.5f))},
                       {"beard", {{n, 1}, NpyType::b8, std::vector<uint8_t>(21, 1)}},
                       {"latents", NpyArray::from(std::vector<float>(42, 0), {n, 2})}});
  const Dataset set = load_dataset(path, Split::train);
  EXPECT_EQ(set.attributes,
            (std::vector{Attribute{.name = "age"}, Attribute{.name = "beard", .states = {"1"}},
                         Attribute{.name = "thickness"}}));
  EXPECT_EQ(set.values[0][20], 40);
  EXPECT_EQ(set.values[2], Numbers(21, 2.5));
  EXPECT_EQ(set.classes, 1);
  EXPECT_NE(set.notes.at(0).find(R"(array "latents" is not read: shape [21, 2])"),
            std::string::npos)
      << set.notes.at(0);
}

TEST(NpzAttributes, BadOnesAreNamed) {
  const TemporaryFolder folder;
  const std::string path = folder / "toy.npz";
  const auto refuse = [&](const io::NpyArrays& arrays, const char* message) {
    io::write_npz(path, arrays);
    expect_error([&] { load_dataset(path, Split::train); }, message);
  };
  refuse({{"images", images(2)}, {"a", floats({1})}}, R"(array "a": 1 values for 2 images)");
  refuse({{"images", images(2)}, {"a", floats({1, NAN})}}, "the value of image 1 is nan");
  refuse({{"images", images(1)}, {"labels", ints({1})}, {"class", ints({1})}}, R"("class" twice)");
}

TEST(NpzAttributes, OfBothSplitsAreTheSame) {
  const TemporaryFolder folder;
  const std::string path = folder / "toy.npz";
  const io::NpyArrays good{{"train_images", images(2)}, {"train_digit", ints({4, 1})},
                           {"test_images", images(1)},  {"digit_test", ints({2})},
                           {"val_images", images(3)},   {"width_train", floats({1, 2})},
                           {"test_width", floats({3})}};
  io::write_npz(path, good);
  const Dataset train = load_dataset(path, Split::train), test = load_dataset(path, Split::test);
  EXPECT_EQ(train.attributes, test.attributes);
  EXPECT_EQ(train.attributes[0], (Attribute{.name = "digit", .states = {"1", "2", "4"}}));
  EXPECT_EQ(train.values, (std::vector<Numbers>{{2, 0}, {1, 2}}));
  EXPECT_EQ(test.values, (std::vector<Numbers>{{1}, {3}}));
  for (const char* gone : {"test_width", "width_train"}) {
    io::NpyArrays arrays = good;
    arrays.erase(gone);
    io::write_npz(path, arrays);
    for (const Split split : {Split::train, Split::test})
      expect_error([&] { load_dataset(path, split); }, R"("width" for one split only)");
  }
}

}  // namespace
}  // namespace diffscm::data
