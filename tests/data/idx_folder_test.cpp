#include "data/idx_folder.h"

#include "tests/data/idx_testing.h"
#include "tests/engine/io_testing.h"

namespace diffscm::data {
namespace {

using diffscm::testing::expect_error;
using diffscm::testing::put;
using diffscm::testing::TemporaryFolder;
using Index = std::vector<int64_t>;

TEST(IdxFolder, loads_and_checks) {
  const TemporaryFolder folder;
  const auto images = folder / "train-images-idx3-ubyte",
             labels = folder / "train-labels-idx1-ubyte";
  put_idx(images, labels, std::string("\x00\x05", 2));
  put_idx(folder / "t10k-images-idx3-ubyte", folder / "t10k-labels-idx1-ubyte", "\x07");
  const Dataset set = load_dataset(folder.path(), Split::train);
  EXPECT_EQ(set.size(), 2);
  EXPECT_EQ(set.classes, 8);  // a label of the other split counts
  EXPECT_EQ(set.label_attribute(), numbered_category("class", 8));
  EXPECT_EQ(set.plausible_targets(5), (Index{0, 1, 2, 3, 4, 6, 7}));
  EXPECT_EQ(set.pixels, (std::vector<float>{-1, 1, 5 / 127.5f - 1, 1}));
  EXPECT_TRUE(set.has_test);
  put_idx(folder / "other", labels, "\x01");
  expect_error([&] { load_dataset(folder.path(), Split::train); }, "1 labels for the 2 images");
  std::filesystem::remove(labels);
  expect_error([&] { load_dataset(folder.path(), Split::train); }, "train-labels-idx1-ubyte");
  std::filesystem::copy_file(images, labels);
  expect_error([&] { load_dataset(folder.path(), Split::train); }, "one label per image");
}

TEST(IdxFolder, other_names_are_found) {
  const TemporaryFolder folder;
  const auto put_split = [&](const std::string& prefix, const std::string& dash,
                             const std::string& values) {
    put_idx(folder / (prefix + "-images" + dash + "idx3-ubyte"),
            folder / (prefix + "-labels" + dash + "idx1-ubyte"), values);
  };
  put_split("train", ".", "\x01");
  put_split("t10k", ".", "\x02");
  EXPECT_EQ(load_dataset(folder.path(), Split::train).labels, Index{1});
  EXPECT_EQ(load_dataset(folder.path(), Split::test).labels, Index{2});
  put_split("emnist-letters-train", "-", "\x03");
  put_split("emnist-letters-test", "-", "\x04");
  EXPECT_EQ(load_dataset(folder.path(), Split::train).labels, Index{1});  // no prefix goes first
  const Dataset letters = load_dataset(folder / "emnist-letters", Split::test);
  EXPECT_EQ(letters.labels, Index{4});
  EXPECT_EQ(letters.name, "emnist-letters");
  EXPECT_NE(letters.notes.at(0).find("rows and columns exchanged"), std::string::npos);
  for (const char* file : {"train-images.idx3-ubyte", "train-labels.idx1-ubyte",
                           "t10k-images.idx3-ubyte", "t10k-labels.idx1-ubyte"})
    std::filesystem::remove(folder / file);
  EXPECT_EQ(load_dataset(folder.path(), Split::train).labels, Index{3});  // the only one
  put_split("emnist-digits-train", "-", "\x05");
  expect_error([&] { load_dataset(folder.path(), Split::train); },
               "several data sets: give one of \"" + (folder / "emnist-digits").string());
  EXPECT_EQ(load_dataset(folder / "emnist-digits", Split::train).labels, Index{5});
  put(folder / "mytrain-images-idx3-ubyte", "");  // a word that only ends in train
  EXPECT_EQ(find_idx_files(folder.path()).size(), 2u);
}

TEST(IdxFolder, names_may_be_in_capitals) {
  const TemporaryFolder folder;
  put_idx(folder / "TRAIN-IMAGES-IDX3-UBYTE.GZ", folder / "TRAIN-LABELS-IDX1-UBYTE.GZ", "\x01");
  EXPECT_EQ(load_dataset(folder.path(), Split::train).labels, Index{1});
}

TEST(IdxFolder, what_is_missing_for_testing_is_known_in_training) {
  const TemporaryFolder folder;
  put_idx(folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte",
          std::string("\x00\x01", 2));
  EXPECT_FALSE(load_dataset(folder.path(), Split::train).has_test);
  const Dataset test = load_dataset(folder.path(), Split::test);
  EXPECT_EQ(test.size(), 2);
  EXPECT_NE(test.notes.at(0).find("has no test data of its own"), std::string::npos);
  put_idx(folder / "x", folder / "t10k-labels-idx1-ubyte", "\x01");
  for (const Split split : {Split::train, Split::test})
    expect_error([&] { load_dataset(folder.path(), split); }, "has no t10k-images-idx3-ubyte");
  for (const char* file : {"train-images-idx3-ubyte", "train-labels-idx1-ubyte"})
    std::filesystem::remove(folder / file);
  std::filesystem::rename(folder / "x", folder / "t10k-images-idx3-ubyte");
  expect_error([&] { load_dataset(folder.path(), Split::train); }, "no train-images-idx3-ubyte");
  EXPECT_EQ(load_dataset(folder.path(), Split::test).size(), 1);
}

TEST(IdxFolder, classes_may_have_names) {
  const TemporaryFolder folder;
  put_idx(folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte", "\x02\x01");
  put_idx(folder / "b-train-images-idx3-ubyte", folder / "b-train-labels-idx1-ubyte", "\x01");
  put(folder / "classes.txt", "shirt\ntrousers\nAnkle boot\n");
  const Dataset set = load_dataset(folder.path(), Split::train);
  EXPECT_EQ(set.label_attribute().states,
            (std::vector<std::string>{"shirt", "trousers", "Ankle boot"}));
  EXPECT_EQ(set.labels, (Index{2, 1}));
  EXPECT_EQ(load_dataset(folder / "b", Split::train).label_attribute(),
            numbered_category("class", 2));
  put(folder / "b-classes.txt", "1 one\n0 none\n");
  EXPECT_EQ(load_dataset(folder / "b", Split::train).label_attribute().states,
            (std::vector<std::string>{"none", "one"}));
  put(folder / "classes.txt", "shirt\n");
  expect_error([&] { load_dataset(folder.path(), Split::train); }, "has 1 lines for 3 classes");
}

TEST(IdxFolder, classes_without_images_are_named) {
  const TemporaryFolder folder;
  put_idx(folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte", "\x01\x02");
  const Dataset set = load_dataset(folder.path().string() + "/", Split::train);
  EXPECT_EQ(set.name, folder.path().filename());
  EXPECT_NE(set.notes.at(0).find("no training image of 1 of its 3 classes, among them 0"),
            std::string::npos);
}

}  // namespace
}  // namespace diffscm::data
