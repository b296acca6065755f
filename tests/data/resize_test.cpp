#include "data/resize.h"

#include "engine/io/npz.h"
#include "tests/engine/io_testing.h"

namespace diffscm::data {
namespace {

using diffscm::testing::expect_error;

io::Picture coloured(int64_t height, int64_t width) {
  io::Picture picture{height, width, 3, {}};
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (const int64_t v : {x * 37 + y * 91, x * x * 13 + y * 5, x * y * 17 + 200})
        picture.pixels.push_back(static_cast<uint8_t>(v % 256));
  return picture;
}

// Pillow 13: Image.resize((w, h), Image.BILINEAR) of that picture.
TEST(Resize, agrees_with_pillow) {
  const io::Picture picture = coloured(7, 11);
  EXPECT_EQ(resize(picture, 3, 4).pixels,
            (std::vector<uint8_t>{102, 32, 199, 133, 134, 139, 112, 140, 128, 113, 48, 149,
                                  109, 43, 149, 116, 145, 117, 129, 151, 140, 114, 59, 138,
                                  126, 54, 116, 113, 156, 135, 119, 162, 124, 119, 70, 133}));
  EXPECT_EQ(resize(picture, 5, 5).pixels,
            (std::vector<uint8_t>{60,  17,  205, 132, 110, 198, 147, 143, 146, 78,  119, 156, 114,
                                  34,  167, 144, 23,  195, 113, 116, 119, 103, 149, 81,  142, 125,
                                  136, 111, 40,  133, 85,  30,  173, 113, 123, 102, 151, 156, 159,
                                  106, 132, 134, 110, 47,  148, 157, 37,  103, 116, 130, 128, 83,
                                  163, 106, 151, 139, 134, 140, 54,  110, 103, 43,  119, 113, 136,
                                  155, 141, 169, 129, 94,  145, 134, 104, 60,  147}));
  EXPECT_EQ(resize(picture, 7, 11).pixels, picture.pixels);
  const io::Picture grey{2, 2, 1, {0, 100, 200, 60}};
  EXPECT_EQ(resize(grey, 1, 1).pixels, (std::vector<uint8_t>{90}));
}

// Of bench/peers/golden_pictures.py: Pillow's filters, and guided-diffusion's crops made with them.
class Golden : public ::testing::Test {
 protected:
  io::Picture picture(const std::string& name) const {
    const io::NpyArray& array = all_.at(name);
    return {array.shape[0], array.shape[1], 3, array.bytes};
  }
  void expect_same(const io::Picture& made, const std::string& name) const {
    const io::Picture expected = picture(name);
    EXPECT_EQ(made.height, expected.height) << name;
    EXPECT_EQ(made.width, expected.width) << name;
    EXPECT_EQ(made.pixels, expected.pixels) << name;
  }
  const io::NpyArrays all_ = io::read_npz(DIFFSCM_GOLDEN "/pictures.npz");
  const std::vector<std::string> sizes_{"33x47", "71x50", "11x9", "24x24", "131x65"};
};

TEST_F(Golden, every_filter_is_pillows) {
  for (const std::string& size : sizes_)
    for (const auto& [name, filter] : {std::pair{"BOX ", Filter::box},
                                       {"BILINEAR ", Filter::bilinear},
                                       {"BICUBIC ", Filter::bicubic}})
      expect_same(resize(picture(size), 19, 14, filter), name + size);
}

TEST_F(Golden, squares_are_guided_diffusions) {
  const std::vector<int64_t> words = all_.at("words").to_ints();
  for (const std::string& size : sizes_) {
    for (const int64_t side : {16, 13})
      expect_same(centre_square(picture(size), side),
                  "centre " + size + " " + std::to_string(side));
    for (size_t i = 0; i < 3; ++i)
      expect_same(random_square(
                      picture(size), 16,
                      {static_cast<uint32_t>(words[3 * i]), static_cast<uint32_t>(words[3 * i + 1]),
                       static_cast<uint32_t>(words[3 * i + 2])}),
                  "random " + size + " " + std::to_string(i));
  }
}

// Only what is kept is made: a square of the middle of 4 million columns.
TEST(Resize, a_very_long_picture_makes_a_square) {
  const io::Picture square = centre_square({2, 1 << 22, 1, std::vector<uint8_t>(1 << 23, 7)}, 64);
  EXPECT_EQ(square.pixels, std::vector<uint8_t>(64 * 64, 7));
}

TEST(Resize, the_middle_is_cut_out) {
  const io::Picture picture{3, 4, 1, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}};
  EXPECT_EQ(centre_crop(picture, 2).pixels, (std::vector<uint8_t>{1, 2, 5, 6}));  // top round(0.5)
  EXPECT_EQ(centre_crop(picture, 3).pixels, (std::vector<uint8_t>{0, 1, 2, 4, 5, 6, 8, 9, 10}));
  expect_error([&] { centre_crop(picture, 4); }, "3 x 4");
}

}  // namespace
}  // namespace diffscm::data
