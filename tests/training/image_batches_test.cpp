#include "training/image_batches.h"

#include <algorithm>
#include <array>
#include <set>

#include "engine/io/picture_file.h"
#include "tests/engine/io_testing.h"
#include "tests/engine/memory_testing.h"
#include "tests/engine/tar_testing.h"

namespace diffscm {
namespace {

using testing::expect_error;
using testing::put;
using testing::TemporaryFolder;
using Index = std::vector<int64_t>;

// Image i is grey, brighter to the right by up to 7 levels per pixel.
std::string png(int64_t i, int64_t side) {
  io::Picture picture{side, side + 4, 1, {}};
  for (int64_t p = 0; p < picture.height * picture.width; ++p)
    picture.pixels.push_back(static_cast<uint8_t>(i % 97 + p % picture.width * (1 + i % 7)));
  const auto bytes = io::encode_png(picture);
  return {bytes.begin(), bytes.end()};
}

data::Dataset load(const TemporaryFolder& folder, const std::string& options) {
  return data::load_dataset(folder.path().string() + options, data::Split::train);
}

class Batches : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
  const bool written_ = [this] {
    for (int i = 0; i < 10; ++i) put(folder_ / fmt::format("{}.png", i), png(i, 12));
    return true;
  }();
  const data::Dataset memory_ = load(folder_, ":size=8"),
                      streamed_ = load(folder_, ":size=8,memory=0");
  const Augmentation all_{.random_crop = true, .flip = true, .shift = 2};
};

TEST_F(Batches, are_the_same_from_memory_and_from_files) {
  for (const Augmentation& augmentation :
       {Augmentation{}, Augmentation{.flip = true, .shift = 1}, all_}) {
    const ImageBatches memory(memory_, {}, 4, 5, augmentation),
        streamed(streamed_, {}, 4, 5, augmentation);
    for (int64_t step = 0; step < 12; ++step) {  // almost five epochs
      EXPECT_EQ(memory.index(step), streamed.index(step));
      EXPECT_EQ(memory.images(step).to_vector(), streamed.images(step).to_vector()) << step;
    }
  }
  // Some images alone.
  const ImageBatches some(streamed_, {7, 2}, 4, 5);
  EXPECT_EQ(some.images(3).to_vector(), memory_.images(some.index(3)).to_vector());
}

TEST_F(Batches, go_on_in_the_middle_as_they_were) {
  const ImageBatches whole(streamed_, {}, 4, 5, all_), rest(streamed_, {}, 4, 5, all_),
      other(streamed_, {}, 4, 6, all_);
  std::vector<std::vector<float>> seen;
  for (int64_t step = 0; step < 8; ++step) seen.push_back(whole.images(step).to_vector());
  for (const size_t step : {6u, 7u, 2u, 3u, 3u, 0u})
    EXPECT_EQ(rest.images(static_cast<int64_t>(step)).to_vector(), seen[step]) << step;
  EXPECT_NE(other.images(0).to_vector(), seen[0]);
}

TEST_F(Batches, half_of_the_images_are_mirrored) {
  const ImageBatches plain(memory_, {}, 10, 1), flipped(memory_, {}, 10, 1, {.flip = true});
  int mirrored = 0;
  for (int64_t step = 0; step < 30; ++step) {
    const std::vector<float> a = plain.images(step).to_vector(),
                             b = flipped.images(step).to_vector();
    for (size_t i = 0; i < 10; ++i) {
      const std::vector<float> image(a.begin() + i * 64, a.begin() + (i + 1) * 64),
          seen(b.begin() + i * 64, b.begin() + (i + 1) * 64);
      std::vector<float> mirror = image;
      for (size_t row = 0; row < 64; row += 8)
        std::reverse(mirror.begin() + row, mirror.begin() + row + 8);
      ASSERT_TRUE(seen == image || seen == mirror);
      mirrored += seen == mirror;
    }
  }
  EXPECT_NEAR(mirrored, 150, 40);
}

TEST_F(Batches, crops_differ_from_step_to_step) {
  const ImageBatches batches(memory_, {3}, 1, 1, {.random_crop = true});
  std::set<std::vector<float>> different;
  for (int64_t step = 0; step < 20; ++step) different.insert(batches.images(step).to_vector());
  EXPECT_GT(different.size(), 5u);
  const data::Dataset uncut = load(folder_, "");
  expect_error([&] { ImageBatches(uncut, {}, 1, 1, {.random_crop = true}); }, "FOLDER:size=64");
}

TEST_F(Batches, a_damaged_file_is_named_by_the_step_that_sees_it) {
  put(folder_ / "4.png", "not a picture");
  const ImageBatches batches(streamed_, {}, 2, 5);
  int64_t step = 0;
  const auto sees = [&](int64_t s) { return std::ranges::count(batches.index(s), 4) > 0; };
  while (!sees(step)) ++step;
  for (int64_t before = 0; before < step; ++before) batches.images(before);
  expect_error([&] { batches.images(step); }, "4.png");
  expect_error([&] { batches.images(step); }, "4.png");
  do ++step;
  while (sees(step));
  EXPECT_EQ(batches.images(step).to_vector(), memory_.images(batches.index(step)).to_vector());
}

// In memory they would take 41 MB.
TEST(Streaming, memory_does_not_depend_on_the_number_of_images) {
  constexpr int64_t kImages = 10000;
  const TemporaryFolder folder;
  {
    std::vector<testing::TarEntry> entries;
    for (int64_t i = 0; i < kImages; ++i) entries.push_back({fmt::format("{}.png", i), png(i, 32)});
    put(folder / "images.tar", testing::make_tar(entries));
  }
  const auto taken = testing::memory_taken([&] {
    const data::Dataset set = load(folder, ":size=32,memory=2");
    ASSERT_EQ(set.size(), kImages);
    const ImageBatches batches(set, {}, 100, 1, {.random_crop = true, .flip = true});
    std::vector<bool> seen(kImages);
    for (int64_t step = 0; step < kImages / 100; ++step) {
      for (const int64_t i : batches.index(step)) seen[static_cast<size_t>(i)] = true;
      ASSERT_EQ(batches.images(step).numel(), 100 * 32 * 32);
    }
    EXPECT_EQ(std::ranges::count(seen, true), kImages);
  });
  if (taken) {
    EXPECT_LT(*taken, 24);
  }
}

}  // namespace
}  // namespace diffscm
