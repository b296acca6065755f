#include "data/dataset.h"

#include <nlohmann/json.hpp>

#include "engine/io/npz.h"
#include "engine/io/png.h"
#include "tests/engine/io_testing.h"

namespace diffscm::data {
namespace {

using diffscm::testing::expect_error;
using diffscm::testing::put;
using diffscm::testing::TemporaryFolder;
using Index = std::vector<int64_t>;

TEST(IndexRange, understands_numbers_ranges_and_lists) {
  EXPECT_EQ(parse_index_range("7", 10), Index{7});
  EXPECT_EQ(parse_index_range("0:3", 10), (Index{0, 1, 2}));
  EXPECT_EQ(parse_index_range("0:10:4", 10), (Index{0, 4, 8}));
  EXPECT_EQ(parse_index_range("0:9:4", 10), (Index{0, 4, 8}));
  EXPECT_EQ(parse_index_range("0:8:4", 10), (Index{0, 4}));
  EXPECT_EQ(parse_index_range("8:", 10), (Index{8, 9}));
  EXPECT_EQ(parse_index_range(":2", 10), (Index{0, 1}));
  EXPECT_EQ(parse_index_range(":", 3), (Index{0, 1, 2}));
  EXPECT_EQ(parse_index_range("::2", 5), (Index{0, 2, 4}));
  EXPECT_EQ(parse_index_range("5,3,3,8:10", 10), (Index{5, 3, 3, 8, 9}));
  EXPECT_EQ(parse_index_range("0:10:9223372036854775807", 10), Index{0});
}

TEST(IndexRange, refuses_what_leaves_the_set_or_says_nothing) {
  for (const char* text : {"", ",", "1,", "a", "1a", " 1", "+1", "-1", "0x1", "1.5", "1:2:3:4",
                           "0:-1", "99999999999999999999", "1;2", "0:3\n"}) {
    SCOPED_TRACE(text);
    expect_error([&] { parse_index_range(text, 10); }, "is not understood");
  }
  expect_error([] { parse_index_range("10", 10); }, "it has 10 samples, the last is 9");
  expect_error([] { parse_index_range("0:11", 10); }, "ends at 11");
  expect_error([] { parse_index_range("5:5", 10); }, "selects no sample");
  expect_error([] { parse_index_range("5:3", 10); }, "selects no sample");
  expect_error([] { parse_index_range("0:5:0", 10); }, "step of 0");
  expect_error([] { parse_index_range(":", 0); }, "selects no sample");
}

TEST(Dataset, gathers_images_and_labels) {
  Dataset set;
  set.name = "tiny";
  set.height = 1;
  set.width = 2;
  set.channels = 1;
  set.classes = 10;
  set.pixels = {0, 0.1f, 0.2f, 0.3f, 0.4f, 0.5f};
  set.labels = {4, 5, 6};
  EXPECT_EQ(set.size(), 3);
  const Index index = {2, 0, 2};
  const Tensor images = set.images(index);
  EXPECT_EQ(images.shape(), (Shape{3, 1, 2, 1}));
  EXPECT_EQ(images.to_vector(), (std::vector<float>{0.4f, 0.5f, 0, 0.1f, 0.4f, 0.5f}));
  EXPECT_EQ(set.labels_of(index), (Index{6, 4, 6}));
  EXPECT_EQ(set.plausible_targets(9), (Index{0, 1, 2, 3, 4, 5, 6, 7, 8}));
  expect_error([&] { set.plausible_targets(10); }, "outside the 10 classes");
  expect_error([&] { set.images(Index{3}); }, "image 3");
  expect_error([&] { set.images(Index{-1}); }, "image -1");
  expect_error([&] { set.labels_of(Index{3}); }, "label 3");
  set.labels.clear();
  expect_error([&] { set.labels_of(Index{0}); }, "no labels");
}

TEST(Dataset, labels_are_the_first_category) {
  Dataset set;
  set.name = "tiny";
  set.height = set.width = set.channels = 1;
  set.pixels = {0, 0.5f};
  expect_error([&] { set.label_attribute(); }, "tiny has no labels");
  set.add({.name = "width"}, {1.5, 2.5});
  EXPECT_TRUE(set.labels.empty());
  set.add({.name = "animal", .states = {"cat", "dog"}}, {1, 0});
  set.add(numbered_category("pen", 7), {6, 6});
  EXPECT_EQ(set.labels, (Index{1, 0}));
  EXPECT_EQ(set.classes, 2);
  EXPECT_EQ(set.label_attribute().name, "animal");
  EXPECT_EQ(set.factual(1), (Assignment{{"animal", 0}, {"pen", 6}, {"width", 2.5}}));
  EXPECT_EQ(set.plausible_targets(0), Index{1});
  expect_error([&] { set.factual(2); }, "image 2");
  expect_error([&] { set.add({.name = "x"}, {1}); }, "1 values of x for the 2 images");
  expect_error([&] { set.add({.name = "x", .states = {"a"}}, {0, 1}); }, "x 1");
  set.classes = 1;
  expect_error([&] { set.plausible_targets(0); }, "one class only");
}

TEST(Dataset, names_can_be_written_as_json) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "caf\xe9");
  for (const std::string name : {"caf\xe9", "d\xff.npz"}) {
    const auto images = io::NpyArray::from(std::vector<uint8_t>{0}, {1, 1, 1});
    if (name.ends_with("npz"))
      io::write_npz(folder / name, {{"images", images}});
    else
      io::write_png(folder / (name + "/a.png"), {1, 1, 1, {0}});
    const Dataset set = load_dataset(folder / name, Split::test);
    EXPECT_EQ(set.name, name.starts_with("c") ? "caf\\xe9" : "d\\xff");
    EXPECT_NO_THROW(nlohmann::json(set.notes).dump(-1, ' ', false));
  }
}

TEST(Dataset, splits_have_names) {
  EXPECT_EQ(parse_split("train"), Split::train);
  EXPECT_EQ(parse_split(name_of(Split::test)), Split::test);
  expect_error([] { parse_split("validation"); }, "\"validation\" is unknown: train or test");
}

TEST(Dataset, unknown_sources_name_the_choices) {
  const TemporaryFolder folder;
  expect_error([&] { load_dataset(folder / "absent", Split::train); },
               "a built-in world (digits, ");
  put(folder / "a.txt", "hello");
  expect_error([&] { load_dataset(folder / "a.txt", Split::train); }, "is not a data set");
  expect_error([&] { load_dataset(folder / "absent.npz", Split::train); }, "absent.npz");
  expect_error([&] { load_dataset("", Split::train); }, "does not exist");
}

}  // namespace
}  // namespace diffscm::data
