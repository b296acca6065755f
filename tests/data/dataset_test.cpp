#include "data/dataset.h"

#include <cstdlib>
#include <limits>
#include <optional>

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

TEST(Dataset, splits_have_names) {
  EXPECT_EQ(parse_split("train"), Split::train);
  EXPECT_EQ(parse_split(name_of(Split::test)), Split::test);
  expect_error([] { parse_split("validation"); }, "\"validation\" is unknown: train or test");
}

TEST(Dataset, unknown_sources_name_the_choices) {
  const TemporaryFolder folder;
  expect_error([&] { load_dataset(folder / "absent", Split::train); }, "digits (built in)");
  put(folder / "a.txt", "hello");
  expect_error([&] { load_dataset(folder / "a.txt", Split::train); }, "is not a data set");
  expect_error([&] { load_dataset(folder / "absent.npz", Split::train); }, "absent.npz");
  expect_error([&] { load_dataset("", Split::train); }, "does not exist");
}

// MNIST ----------------------------------------------------------------------------------------

// A variable of the environment for the length of a test.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    ::setenv(name, value.c_str(), 1);
  }
  ~Variable() { old_ ? ::setenv(name_, old_->c_str(), 1) : ::unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
  std::optional<std::string> old_;
};

TEST(Mnist, known_facts) {
  const Variable offline("DIFFSCM_OFFLINE", "1");
  Dataset train, test;
  try {
    train = load_dataset("mnist", Split::train);
    test = load_dataset("mnist", Split::test);
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
  EXPECT_EQ(train.size(), 60000);
  EXPECT_EQ(test.size(), 10000);
  EXPECT_EQ(train.classes, 10);
  EXPECT_EQ(train.label_attribute().name, "digit");
  EXPECT_EQ(train.plausible_targets(2), (Index{3, 7}));
  const Index five = {0, 1, 2, 3, 4};
  EXPECT_EQ(train.labels_of(five), (Index{5, 0, 4, 1, 9}));
  EXPECT_EQ(test.labels_of(five), (Index{7, 2, 1, 0, 4}));
  double sum = 0;
  for (const float v : train.pixels) sum += (v + 1.0) / 2;
  EXPECT_NEAR(sum / static_cast<double>(train.pixels.size()), 0.1306604762738429, 1e-6);
  // Not transposed: the stroke of the first test image, a seven, begins with a bar along row 7.
  const std::vector<float> seven = test.images(Index{0}).to_vector();
  const auto row = [&](int r) {
    return std::count_if(seven.begin() + r * 28, seven.begin() + (r + 1) * 28,
                         [](float v) { return v > 0; });
  };
  EXPECT_GE(row(8), 10);
  EXPECT_LE(row(20), 5);
}

void put_idx(const std::filesystem::path& images, const std::filesystem::path& labels,
             const std::string& values) {
  const auto n = static_cast<char>(values.size());
  std::string pixels("\0\0\x08\x03\0\0\0", 7);
  pixels += n;
  pixels += std::string("\0\0\0\x01\0\0\0\x02", 8);
  std::string numbers("\0\0\x08\x01\0\0\0", 7);
  numbers += n;
  for (const char v : values) {
    pixels += {v, '\xff'};
    numbers += v;
  }
  put(images, pixels);
  put(labels, numbers);
}

TEST(Mnist, the_environment_comes_first) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "mnist");
  put_idx(folder / "mnist/train-images-idx3-ubyte", folder / "mnist/train-labels-idx1-ubyte",
          std::string("\x00\x03", 2));
  const Variable data("DIFFSCM_DATA", folder.path());
  const Dataset set = load_dataset("mnist", Split::train);
  EXPECT_EQ(set.size(), 2);
  EXPECT_EQ(set.labels, (Index{0, 3}));
  EXPECT_EQ(set.classes, 10);
}

TEST(Mnist, its_absence_names_all_the_choices) {
  const TemporaryFolder folder;
  const Variable offline("DIFFSCM_OFFLINE", "1"), cache("XDG_CACHE_HOME", folder.path());
  const Variable data("DIFFSCM_DATA", folder / "absent");
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  std::string message;
  try {
    load_dataset("mnist", Split::test);
  } catch (const Error& error) {
    message = error.what();
  }
  std::filesystem::current_path(before);
  if (message.empty()) GTEST_SKIP() << "the program lies below a folder with shared/data/mnist";
  for (const char* part : {"DIFFSCM_OFFLINE", "DIFFSCM_DATA", "--data FOLDER", "--data digits"})
    EXPECT_NE(message.find(part), std::string::npos) << message;
}

// Folders and archives -------------------------------------------------------------------------

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
  put_idx(folder / "other", labels, "\x01");
  expect_error([&] { load_dataset(folder.path(), Split::train); }, "1 labels for the 2 images");
  std::filesystem::remove(labels);
  expect_error([&] { load_dataset(folder.path(), Split::train); }, "train-labels-idx1-ubyte");
  std::filesystem::copy_file(images, labels);
  expect_error([&] { load_dataset(folder.path(), Split::train); }, "one label per image");
}

TEST(NpzDataset, loads_bytes_and_floats) {
  const TemporaryFolder folder;
  const std::string path = folder / "toy.npz";
  using io::NpyArray;
  const std::vector<float> values = {-1, 0, 0.5f, 1, 0, 0, 0, 0};
  const auto images = NpyArray::from(values, {2, 2, 2});
  const auto labels = NpyArray::from(std::vector<int64_t>{2, 0}, {2});
  for (const auto& names :
       {std::pair("images", "labels"), std::pair("x", "y"), std::pair("arr_0", "arr_1")}) {
    io::write_npz(path, {{names.first, images}, {names.second, labels}});
    const Dataset set = load_dataset(path, Split::test);
    EXPECT_EQ(set.name, "toy");
    EXPECT_EQ(set.size(), 2);
    EXPECT_EQ(set.channels, 1);
    EXPECT_EQ(set.classes, 3);
    EXPECT_EQ(set.pixels, values);
    EXPECT_EQ(set.labels, (Index{2, 0}));
  }
  io::write_npz(path, {{"images", NpyArray::from(std::vector<uint8_t>{0, 255, 51}, {1, 1, 1, 3})}});
  const Dataset set = load_dataset(path, Split::train);
  EXPECT_EQ(set.channels, 3);
  EXPECT_EQ(set.classes, 0);
  EXPECT_EQ(set.pixels, (std::vector<float>{-1, 1, 51 / 127.5f - 1}));
}

TEST(NpzDataset, splits_share_their_classes) {
  const TemporaryFolder folder;
  const std::string path = folder / "toy.npz";
  using io::NpyArray;
  const auto one = NpyArray::from(std::vector<float>{0}, {1, 1, 1});
  io::write_npz(path, {{"train_images", one},
                       {"train_labels", NpyArray::from(std::vector<int64_t>{4}, {1})},
                       {"test_images", NpyArray::from(std::vector<float>{0.5f, 1}, {2, 1, 1})},
                       {"test_labels", NpyArray::from(std::vector<int64_t>{1, 0}, {2})}});
  const Dataset test = load_dataset(path, Split::test);
  EXPECT_EQ(test.size(), 2);
  EXPECT_EQ(test.classes, 5);
  EXPECT_EQ(load_dataset(path, Split::train).labels, Index{4});
  io::write_npz(path, {{"train_images", one}});
  expect_error([&] { load_dataset(path, Split::test); }, "no array test_images");
}

TEST(NpzDataset, says_what_is_wrong) {
  const TemporaryFolder folder;
  const std::string path = folder / "toy.npz";
  using io::NpyArray;
  const auto refuse = [&](const io::NpyArrays& arrays, const char* message) {
    io::write_npz(path, arrays);
    expect_error([&] { load_dataset(path, Split::train); }, message);
  };
  const auto images = [](std::vector<float> values) {
    const auto n = static_cast<int64_t>(values.size());
    return NpyArray::from(values, {n, 1, 1});
  };
  const auto labels = [](std::vector<int64_t> values) {
    return NpyArray::from(values, {static_cast<int64_t>(values.size())});
  };
  refuse({}, "has no array");
  refuse({{"images", images({0, 255})}}, "range from 0 to 255");
  refuse({{"images", images({0, std::numeric_limits<float>::quiet_NaN()})}}, "NaN");
  refuse({{"images", images({0, std::numeric_limits<float>::infinity()})}}, "to inf");
  refuse({{"images", labels({1})}}, "expected [N, H, W]");
  refuse({{"images", NpyArray::from(std::vector<int64_t>{0}, {1, 1, 1})}}, "int64");
  refuse({{"images", NpyArray::from(std::vector<float>{0, 0}, {1, 1, 1, 2})}}, "1 or 3 channels");
  refuse({{"images", NpyArray::from(std::vector<float>{}, {0, 1, 1})}}, "expected [N, H, W]");
  refuse({{"images", images({0})}, {"labels", labels({1, 2})}}, "for 1 images");
  refuse({{"images", images({0})}, {"labels", labels({-1})}}, "label -1");
  refuse({{"images", images({0})}, {"labels", labels({1'000'000'000})}}, "label 1000000000");
  refuse({{"images", images({0})}, {"labels", images({0})}}, "shape");
  refuse({{"images", images({0})}, {"labels", NpyArray::from(std::vector<float>{0}, {1})}},
         "cannot be read as integers");
}

io::Picture picture(std::vector<uint8_t> pixels, int64_t channels = 1) {
  return {1, static_cast<int64_t>(pixels.size()) / channels, channels, pixels};
}

TEST(PngFolder, classes_are_the_names_of_subfolders) {
  const TemporaryFolder folder;
  for (const char* name : {"0", "2", "notes"}) std::filesystem::create_directory(folder / name);
  write_png(folder / "2/b.png", picture({0, 255}));
  write_png(folder / "2/a.PNG", picture({255, 0}));
  write_png(folder / "0/c.png", picture({51, 51}));
  put(folder / "0/readme.txt", "not a picture");
  write_png(folder / "notes/d.png", picture({1, 2}));
  const Dataset set = load_dataset(folder.path(), Split::train);
  EXPECT_EQ(set.labels, (Index{0, 2, 2}));
  EXPECT_EQ(set.classes, 3);
  EXPECT_EQ(set.width, 2);
  EXPECT_EQ(set.pixels, (std::vector<float>{51 / 127.5f - 1, 51 / 127.5f - 1, 1, -1, -1, 1}));
  write_png(folder / "2/z.png", picture({1, 2, 3}));
  expect_error([&] { load_dataset(folder.path(), Split::train); }, "2/z.png");
  std::filesystem::remove(folder / "2/z.png");
  write_png(folder / "stray.png", picture({1, 2}));
  expect_error([&] { load_dataset(folder.path(), Split::train); }, "stray.png");
}

TEST(PngFolder, labels_may_come_from_a_table) {
  const TemporaryFolder folder;
  write_png(folder / "a.png", picture({1, 2, 3}, 3));
  write_png(folder / "b,c.png", picture({4, 5, 6}, 3));
  EXPECT_EQ(load_dataset(folder.path(), Split::train).classes, 0);
  put(folder / "labels.csv", "file,label\r\nb,c.png,7\r\na.png,1");
  const Dataset set = load_dataset(folder.path(), Split::test);
  EXPECT_EQ(set.labels, (Index{1, 7}));
  EXPECT_EQ(set.channels, 3);
  const auto refuse = [&](const char* table, const char* message) {
    put(folder / "labels.csv", table);
    expect_error([&] { load_dataset(folder.path(), Split::train); }, message);
  };
  refuse("a.png,1\n", "b,c.png\" is not listed in");
  refuse("a.png,1\na.png,2\n", "line 2: \"a.png\" has two labels");
  refuse("a.png,1\nb,c.png,-2\n", "line 2");
  refuse("a.png,1\nb,c.png,x\n", "line 2");
  refuse("a.png,1\nnonsense\n", "line 2");
}

TEST(PngFolder, train_and_test_subfolders) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "train/1");
  std::filesystem::create_directories(folder / "test/0");
  write_png(folder / "train/1/a.png", picture({1}));
  expect_error([&] { load_dataset(folder.path(), Split::test); }, "nor PNG files");
  write_png(folder / "test/0/a.png", picture({1}));
  EXPECT_EQ(load_dataset(folder.path(), Split::train).labels, Index{1});
  EXPECT_EQ(load_dataset(folder.path(), Split::test).labels, Index{0});
}

TEST(PngFolder, bad_pictures_are_named) {
  const TemporaryFolder folder;
  expect_error([&] { load_dataset(folder.path(), Split::train); }, "neither IDX files");
  put(folder / "a.png", "GIF89a");
  expect_error([&] { load_dataset(folder.path(), Split::train); }, "a.png");
}

}  // namespace
}  // namespace diffscm::data
