#include <cmath>
#include <limits>

#include "engine/io/grid.h"
#include "engine/io/text.h"
#include "tests/engine/io_testing.h"

namespace diffscm::io {
namespace {

using diffscm::testing::expect_error;

int64_t count(const Picture& picture, Colour colour) {
  int64_t found = 0;
  for (size_t i = 0; i + 2 < picture.pixels.size(); i += 3)
    found += std::equal(colour.begin(), colour.end(), picture.pixels.begin() + i);
  return found;
}

GridImage flat(float value, int64_t channels = 1) {
  return {4, 4, channels, std::vector<float>(static_cast<size_t>(16 * channels), value), ""};
}

TEST(Text, every_character_is_safe_and_visible) {
  Picture paper{20, 40, 3, std::vector<uint8_t>(20 * 40 * 3, 255)};
  for (int c = 0; c < 256; ++c) {
    Picture picture = paper;
    draw_text(picture, 4, 4, std::string(1, static_cast<char>(c)), 1, {0, 0, 0});
    const bool continuation = (c & 0xc0) == 0x80;  // of a UTF-8 sequence already drawn as '?'
    EXPECT_EQ(count(picture, {0, 0, 0}) > 0, c != ' ' && !continuation) << c;
  }
  for (int64_t at = -30; at < 60; at += 7) draw_text(paper, at, at, "8 edge", 3, {0, 0, 0});
}

TEST(Text, an_eight_has_all_its_strokes) {
  Picture picture{12, 12, 3, std::vector<uint8_t>(12 * 12 * 3, 255)};
  draw_text(picture, 2, 2, "8", 1, {0, 0, 0});
  const auto dark = [&](int64_t x, int64_t y) {
    return picture.pixels[static_cast<size_t>((y * 12 + x) * 3)] == 0;
  };
  EXPECT_TRUE(dark(2, 3) && dark(2, 6) && dark(5, 3) && dark(5, 6));
}

TEST(Grid, shows_values_clamped_and_nan_in_magenta) {
  GridImage nan = flat(0.0f);
  nan.pixels[5] = std::numeric_limits<float>::quiet_NaN();
  GridOptions options;
  options.magnification = 2;
  const std::vector<GridRow> rows = {
      {"row", {flat(-7.0f), flat(7.0f), nan, flat(std::numeric_limits<float>::infinity(), 3)}}};
  const Picture picture = draw_grid(rows, options);
  EXPECT_EQ(count(picture, {0, 0, 0}), 4 * 4 * 4);
  EXPECT_EQ(count(picture, {128, 128, 128}), 15 * 4);
  EXPECT_EQ(count(picture, {255, 0, 255}), 4);
}

TEST(Grid, grows_with_its_labels) {
  const std::vector<GridRow> bare = {{"", {flat(0), flat(0)}}};
  std::vector<GridRow> labelled = bare;
  labelled[0].label = "reconstruction";
  labelled[0].images[0].caption = "p = 0.5";
  const Picture small = draw_grid(bare), wide = draw_grid(labelled);
  EXPECT_GT(wide.width, small.width);
  EXPECT_GT(wide.height, small.height);
  GridOptions options;
  options.title = "title";
  options.columns = {"a", "b"};
  EXPECT_GT(draw_grid(bare, options).height, small.height);
  // Ink touches no border.
  const Picture picture = draw_grid(labelled, options);
  for (int64_t x = 0; x < picture.width * 3; ++x) {
    EXPECT_EQ(picture.pixels[static_cast<size_t>(x)], 255);
    EXPECT_EQ(picture.pixels[picture.pixels.size() - 1 - static_cast<size_t>(x)], 255);
  }
}

TEST(Grid, odd_input) {
  EXPECT_GT(draw_grid({}).width, 0);
  std::vector<GridRow> rows = {{"a", {}}, {"b", {flat(1), {}, flat(1, 3)}}};
  EXPECT_GT(draw_grid(rows).width, 0);
  rows[1].images[0].pixels.pop_back();
  expect_error([&] { draw_grid(rows); }, "cannot be drawn");
  rows[1].images[0] = {4, 4, 2, std::vector<float>(32), ""};
  expect_error([&] { draw_grid(rows); }, "cannot be drawn");
  GridOptions options;
  options.magnification = 100000;
  rows[1].images[0] = flat(0);
  expect_error([&] { draw_grid(rows, options); }, "too large");
  options = {};
  options.title = std::string(1'000'000, 'x');
  expect_error([&] { draw_grid(rows, options); }, "too large");
}

TEST(Grid, image_of_a_batch) {
  const Tensor batch = Tensor::from(std::vector<float>{1, 2, 3, 4}, {2, 1, 2, 1});
  EXPECT_EQ(grid_image(batch, 1).pixels, (std::vector<float>{3, 4}));
  expect_error([&] { grid_image(batch, 2); }, "image 2 of a batch of 2");
  expect_error([&] { grid_image(batch.reshape({4}), 0); }, "[N, H, W, C]");
}

TEST(Grid, signed_difference_is_red_above_and_blue_below) {
  GridImage a = flat(0), b = flat(0);
  a.pixels[0] = 1;
  a.pixels[1] = -1;
  a.pixels[2] = std::numeric_limits<float>::quiet_NaN();
  const GridImage difference = signed_difference(a, b);
  const auto pixel = [&](size_t i, size_t c) { return difference.pixels[i * 3 + c]; };
  EXPECT_GT(pixel(0, 0), pixel(0, 1) + 1);
  EXPECT_GT(pixel(0, 0), pixel(0, 2) + 1);
  EXPECT_GT(pixel(1, 2), pixel(1, 0) + 1);
  EXPECT_TRUE(std::isnan(pixel(2, 0)));
  EXPECT_EQ(pixel(3, 0), 1.0f);
  EXPECT_EQ(pixel(3, 2), 1.0f);
  // A tenth of the scale has a tenth of the colour.
  a.pixels[0] = 0.1f;
  EXPECT_NEAR(1 - signed_difference(a, b).pixels[1], 0.1f * (1 - pixel(0, 1)), 1e-6);
  expect_error([&] { signed_difference(a, flat(0, 3)); }, "no difference");
}

}  // namespace
}  // namespace diffscm::io
