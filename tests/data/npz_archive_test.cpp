#include "data/npz_archive.h"

#include <limits>

#include "engine/io/npz.h"
#include "tests/engine/io_testing.h"
#include "tests/engine/memory_testing.h"

namespace diffscm::data {
namespace {

using diffscm::testing::expect_error;
using diffscm::testing::from_hex;
using diffscm::testing::put;
using diffscm::testing::TemporaryFolder;
using Index = std::vector<int64_t>;
using io::NpyArray;
using io::NpyType;

TEST(NpzDataset, loads_bytes_and_floats) {
  const TemporaryFolder folder;
  const std::string path = folder / "toy.npz";
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
  const Dataset again = load_dataset(path, Split::test);
  EXPECT_FALSE(again.has_test);
  EXPECT_NE(again.notes.back().find("no test data of its own"), std::string::npos);
  io::write_npz(path, {{"test_images", one}});
  expect_error([&] { load_dataset(path, Split::train); },
               R"(no array train_images or x_train; its arrays are "test_images")");
}

TEST(NpzDataset, the_ending_may_be_in_capitals) {
  const TemporaryFolder folder;
  const std::string path = folder / "TOY.NPZ";
  io::write_npz(path, {{"images", NpyArray::from(std::vector<float>{0, 255}, {2, 1, 1})}});
  const Dataset set = load_dataset(path + ":range=0,255", Split::train);
  EXPECT_EQ(set.name, "TOY");
  EXPECT_EQ(set.pixels, (std::vector<float>{-1, 1}));
  io::write_npz(path, {{"images", NpyArray::from(std::vector<uint8_t>{255}, {1, 1, 1})}});
  EXPECT_EQ(load_dataset(path, Split::train).pixels, std::vector<float>{1});
}

TEST(NpzDataset, names_of_keras_and_of_capitals) {
  const TemporaryFolder folder;
  const std::string path = folder / "toy.npz";
  const auto image = [](uint8_t v) { return NpyArray::from(std::vector<uint8_t>{v}, {1, 1, 1}); };
  const auto label = [](int64_t v) { return NpyArray::from(std::vector<int64_t>{v}, {1}); };
  io::write_npz(
      path,
      {{"x_train", image(0)}, {"y_train", label(1)}, {"x_test", image(255)}, {"y_test", label(2)}});
  EXPECT_EQ(load_dataset(path, Split::train).labels, Index{1});
  EXPECT_EQ(load_dataset(path, Split::test).labels, Index{2});
  EXPECT_EQ(load_dataset(path, Split::test).pixels, std::vector<float>{1});
  io::write_npz(path, {{"X", image(0)}, {"Y", label(3)}});
  EXPECT_EQ(load_dataset(path, Split::train).labels, Index{3});
  EXPECT_FALSE(load_dataset(path, Split::train).has_test);
  io::write_npz(path, {{"pictures", image(0)}, {"digits", label(3)}});
  expect_error([&] { load_dataset(path, Split::train); }, R"(its arrays are "digits", "pictures")");
}

// Written by NumPy 2: np.savez(f, images=np.zeros((1, 1, 1), 'u1'), names=np.array(['cat'])).
constexpr std::string_view kWithNames =
    "504b03042d000000000000002100106d45ddffffffffffffffff0a001400696d616765732e6e7079010010008100"
    "0000000000008100000000000000934e554d5059010076007b276465736372273a20277c7531272c2027666f7274"
    "72616e5f6f72646572273a2046616c73652c20277368617065273a2028312c20312c2031292c207d202020202020"
    "20202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020"
    "2020200a00504b03042d0000000000000021009f7719e9ffffffffffffffff090014006e616d65732e6e70790100"
    "10008c000000000000008c00000000000000934e554d5059010076007b276465736372273a20273c5533272c2027"
    "666f727472616e5f6f72646572273a2046616c73652c20277368617065273a2028312c292c207d20202020202020"
    "20202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020"
    "202020202020200a630000006100000074000000504b01022d032d000000000000002100106d45dd810000008100"
    "00000a0000000000000000000000800100000000696d616765732e6e7079504b01022d032d000000000000002100"
    "9f7719e98c0000008c0000000900000000000000000000008001bd0000006e616d65732e6e7079504b0506000000"
    "00020002006f000000840100000000";

TEST(NpzDataset, arrays_that_are_not_needed_are_not_looked_at) {
  const TemporaryFolder folder;
  const std::string path = folder / "toy.npz";
  put(path, from_hex(kWithNames));
  EXPECT_EQ(load_dataset(path, Split::train).size(), 1);
  expect_error([&] { io::read_npz(path); }, "has type \"<U3\"");
}

TEST(NpzDataset, bool_is_black_and_white) {
  const TemporaryFolder folder;
  const std::string path = folder / "toy.npz";
  io::write_npz(path, {{"images", {{2, 1, 2}, NpyType::b8, {0, 1, 1, 0}}},
                       {"labels", {{2}, NpyType::b8, {1, 0}}}});
  const Dataset set = load_dataset(path, Split::train);
  EXPECT_EQ(set.pixels, (std::vector<float>{-1, 1, 1, -1}));
  EXPECT_EQ(set.labels, (Index{1, 0}));
}

TEST(NpzDataset, the_range_of_floats_is_said_and_can_be_told) {
  const TemporaryFolder folder;
  const std::string path = folder / "toy.npz";
  const auto images = [](std::vector<float> values) {
    const auto n = static_cast<int64_t>(values.size());
    return NpyArray::from(values, {n, 1, 1});
  };
  using Pixels = std::vector<float>;
  const auto note = [](const Dataset& set) { return set.notes.at(0); };
  const auto contains = [](const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  io::write_npz(path, {{"images", images({0, 0.25f, 1})}});
  Dataset set = load_dataset(path, Split::train);
  EXPECT_EQ(set.pixels, (Pixels{-1, -0.5f, 1}));
  contains(note(set), "images from 0 to 1 are read with black 0 and white 1");
  contains(note(set), "--data \"" + path + ":range=-1,1\"");
  set = load_dataset(path + ":range=-1,1", Split::train);
  EXPECT_EQ(set.pixels, (Pixels{0, 0.25f, 1}));
  EXPECT_EQ(set.name, "toy");
  EXPECT_TRUE(set.notes.empty());
  io::write_npz(path, {{"images", images({-0.5f, 1})}});
  set = load_dataset(path, Split::train);
  EXPECT_EQ(set.pixels, (Pixels{-0.5f, 1}));
  contains(note(set), "black -1 and white 1");
  // One negative value in either split speaks for both.
  io::write_npz(path, {{"train_images", images({-1, 1})}, {"test_images", images({0, 1})}});
  EXPECT_EQ(load_dataset(path, Split::test).pixels, (Pixels{0, 1}));
  io::write_npz(path, {{"images", images({0, 51, 255})}});
  expect_error([&] { load_dataset(path, Split::train); }, "toy.npz:range=0,255\"");
  EXPECT_EQ(load_dataset(path + ":range=0,255", Split::train).pixels, (Pixels{-1, -0.6f, 1}));
  expect_error([&] { load_dataset(path + ":range=0,200", Split::train); }, "from 0 to 255");
  for (const char* range : {"", "0", "0,", "1,0", "0,0", "a,b", "0,1,2", "nan,1", "0,inf"})
    expect_error([&] { load_dataset(path + ":range=" + range, Split::train); }, "range=");
  io::write_npz(path, {{"images", NpyArray::from(std::vector<uint8_t>{7}, {1, 1, 1})}});
  expect_error([&] { load_dataset(path + ":range=0,1", Split::train); }, "not uint8");
  expect_error([&] { load_dataset(folder / "absent.npz:range=0,1", Split::train); },
               "absent.npz\"");
}

TEST(NpzDataset, float_labels_are_taken_when_whole) {
  const TemporaryFolder folder;
  const std::string path = folder / "toy.npz";
  const auto images = NpyArray::from(std::vector<uint8_t>{1, 2}, {2, 1, 1});
  const auto with = [&](std::vector<float> labels) {
    io::write_npz(path, {{"images", images}, {"labels", NpyArray::from(labels, {2})}});
    return load_dataset(path, Split::train).labels;
  };
  EXPECT_EQ(with({3, 0}), (Index{3, 0}));
  expect_error([&] { with({0, 0.5f}); }, "array \"labels\": label 0.5 of image 1 is not a whole");
  for (const float label : {-1.0f, NAN, INFINITY, 1e20f})
    expect_error([&] { with({0, label}); }, "array \"labels\": label");
}

// A small archive may hold much: what it says it is must do, before it is inflated.
TEST(NpzDataset, what_is_too_large_is_not_read) {
  const TemporaryFolder folder;
  const std::string path = folder / "toy.npz";
  constexpr int64_t kLong = int64_t{32} << 20;
  const auto bytes = NpyArray::from(std::vector<uint8_t>(kLong), {kLong});
  const auto one = NpyArray::from(std::vector<uint8_t>{0}, {1, 1, 1});
  const auto expect_little = [&](const std::function<void()>& work) {
    EXPECT_LT(diffscm::testing::memory_taken(work).value_or(0), 8);
  };
  io::write_npz(path, {{"images", bytes}});
  expect_little([&] {
    expect_error([&] { load_dataset(path, Split::train); }, "images have shape [33554432]");
  });
  io::write_npz(path, {{"images", one}, {"labels", bytes}});
  expect_little([&] {
    expect_error([&] { load_dataset(path, Split::train); }, "labels have shape [33554432] for 1");
  });
  io::write_npz(path, {{"images", one}, {"masks", {{kLong / 2, 2}, bytes.type, bytes.bytes}}});
  expect_little([&] {
    EXPECT_EQ(load_dataset(path, Split::train).notes.at(0),
              "\"" + path + "\": array \"masks\" is not read: shape [16777216, 2] is not one " +
                  "value per image");
  });
  io::write_npz(path, {{"images", {{kLong, 1, 1}, bytes.type, bytes.bytes}}});
  expect_little([&] {
    expect_error([&] { load_npz(path, Split::train, "", 100 << 20); },
                 "array \"images\": shape [33554432, 1, 1] of uint8 takes 160 MiB to read, more "
                 "than the 100");
  });
}

TEST(NpzDataset, says_what_is_wrong) {
  const TemporaryFolder folder;
  const std::string path = folder / "toy.npz";
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
  refuse({}, "its arrays are none");
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
}

}  // namespace
}  // namespace diffscm::data
