#include "data/morpho/edit.h"

#include <algorithm>
#include <numeric>
#include <random>

#include "tests/data/morpho/morpho_testing.h"

namespace diffscm::data::morpho {
namespace {

// Offsets of a brush, from the closed form itself.
bool in_brush(int a, int b, int radius) {
  const double c = (32.0 * radius + 1) / (2.0 * radius + 1);
  const auto beyond = [&](int offset) {
    return std::max(0.0, std::floor(std::abs(offset) * c) - 21);
  };
  return beyond(a) * beyond(a) + beyond(b) * beyond(b) <= 256.0 * radius * radius;
}

TEST(Brush, is_nearly_square) {
  const auto pixels = [](int radius) {
    const std::vector<int> half = brush(radius);
    int count = 2 * half[0] + 1;
    for (size_t a = 1; a < half.size(); ++a) count += 2 * (2 * half[a] + 1);
    return count;
  };
  for (int r = 0; r <= 5; ++r) EXPECT_EQ(pixels(r), (2 * r + 1) * (2 * r + 1));
  EXPECT_EQ(pixels(8), 277);  // scikit-image; a disk has 197
  for (const int r : {1, 7, 8, 23, 40}) {
    const std::vector<int> half = brush(r);
    ASSERT_EQ(std::ssize(half), r + 1);
    for (int a = 0; a <= r; ++a)
      for (int b = 0; b <= r; ++b)
        ASSERT_EQ(b <= half[static_cast<size_t>(a)], in_brush(a, b, r))
            << r << " " << a << " " << b;
  }
}

TEST(Brush, dilates_and_erodes_as_defined) {
  std::mt19937 random(1);
  for (const auto& [height, width] : {std::pair(40, 150), std::pair(33, 64), std::pair(5, 3)})
    for (const int radius : {0, 1, 6, 9, 70}) {
      const std::vector<int> half = brush(radius);
      Mask mask{height, width, 16, {}};
      for (int i = 0; i < height * width; ++i) mask.pixels.push_back(random() % 150 == 0);
      Mask full = mask;
      for (uint8_t& v : full.pixels) v = !v;
      const Mask thick = dilated(mask, half), thin = eroded(full, half);
      EXPECT_EQ(thick.scale, 16);
      for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x) {
          bool any = false;
          for (int v = std::max(0, y - radius); v <= std::min(height - 1, y + radius); ++v)
            for (int u = std::max(0, x - radius); u <= std::min(width - 1, x + radius); ++u)
              any |= mask.row(v)[u] && in_brush(v - y, u - x, radius);
          ASSERT_EQ(thick.row(y)[x], any) << radius << " " << y << " " << x;
          ASSERT_EQ(thin.row(y)[x], !any) << radius << " " << y << " " << x;
        }
    }
}

GreyImage with_thickness_of(const GreyImage& digit, double thickness) {
  return reduce(with_thickness(analyse(digit, kEditScale).value(), thickness));
}

TEST(Edit, thickness_overshoots_as_published) {
  const auto digit = first_training_image();
  if (!digit) GTEST_SKIP() << "MNIST is not on this machine";
  for (const auto& [asked, measured] :
       {std::pair(1.5, 1.70), std::pair(2.5, 2.54), std::pair(4.0, 4.27), std::pair(6.0, 6.77)})
    EXPECT_NEAR(measure(with_thickness_of(*digit, asked), 16)->thickness, measured, 0.08) << asked;
}

TEST(Edit, slant_is_what_is_asked_for) {
  const auto digit = first_training_image();
  if (!digit) GTEST_SKIP() << "MNIST is not on this machine";
  const Morphology shape = analyse(*digit, kEditScale).value();
  for (const auto& [asked, measured] :
       {std::pair(-0.5, -0.494), std::pair(0.0, 0.0005), std::pair(0.5, 0.499)}) {
    const GreyImage leaning = reduce(with_slant(shape, asked));
    EXPECT_NEAR(measure(leaning)->slant, measured, 0.004) << asked;
  }
}

TEST(Edit, width_is_what_is_asked_for) {
  constexpr double kBlur = 0.6;  // the ends are smoothed again when the result is measured
  const Morphology bar_shape = analyse(bar(), kEditScale).value();
  for (const double asked : {10.0, 26.0})
    EXPECT_NEAR(measure(reduce(with_width(bar_shape, asked)))->width, asked, kBlur) << asked;
  EXPECT_EQ(with_width(bar_shape, width_of(bar_shape.hires) / kEditScale).pixels,
            bar_shape.stroke.pixels);
  diffscm::testing::expect_error([&] { with_width(bar_shape, 0); }, "more than 0");

  const auto digit = first_training_image();
  if (!digit) GTEST_SKIP() << "MNIST is not on this machine";
  const Morphology shape = analyse(*digit, kEditScale).value();
  const double slant = measure(*digit)->slant;
  for (const double asked : {9.0, 14.5, 18.0}) {
    const Morphometrics wide = measure(reduce(with_width(shape, asked))).value();
    EXPECT_NEAR(wide.width, asked, kBlur) << asked;
    EXPECT_NEAR(wide.slant, slant, 0.03) << asked;  // stretched along it
  }
}

TEST(Edit, a_stroke_as_thick_as_asked_stays) {
  const Morphology shape = analyse(bar(), kEditScale).value();
  EXPECT_EQ(with_thickness(shape, shape.thickness).pixels, shape.stroke.pixels);
  EXPECT_EQ(with_thickness(shape, shape.thickness + 0.1).pixels, shape.stroke.pixels);  // radius 0
  const auto area = [](const Mask& mask) { return std::ranges::count(mask.pixels, 1); };
  EXPECT_GT(area(with_thickness(shape, shape.thickness + 0.2)), area(shape.stroke));
  EXPECT_LT(area(with_thickness(shape, shape.thickness - 0.2)), area(shape.stroke));
  EXPECT_LT(area(with_thickness(shape, 0)), area(shape.stroke) / 10);
}

TEST(Edit, intensity_moves_the_median) {
  GreyImage image = bar();
  for (int x = 4; x < 24; ++x) image.row(13)[x] = 200;
  const GreyImage dark = with_intensity(image, 100);
  EXPECT_EQ(intensity_of(dark), 100);
  EXPECT_EQ(dark.row(12)[5], 100);
  EXPECT_EQ(dark.row(13)[5], 78);  // trunc(200 * 100 / 255)
  for (int x = 4; x < 24; ++x) image.row(14)[x] = image.row(15)[x] = 200;
  EXPECT_EQ(with_intensity(image, 250).row(12)[5], 255);  // cut
  const GreyImage black{28, 28, 1, std::vector<uint8_t>(28 * 28)};
  EXPECT_EQ(with_intensity(black, 100).pixels, black.pixels);
}

TEST(Resample, enlarging_and_reducing_keep_place_and_level) {
  const GreyImage large = enlarge(bar(), 16);
  EXPECT_EQ(large.height, 448);
  EXPECT_EQ(large.scale, 16);
  EXPECT_EQ(std::accumulate(large.pixels.begin(), large.pixels.end(), 0), 5210584);  // scipy
  EXPECT_EQ(large.row(14 * 16)[14 * 16],
            254);  // the Gaussian's weights sum to a little less than 1
  EXPECT_EQ(large.row(8)[8], 0);
  Mask white{448, 448, 16, std::vector<uint8_t>(448 * 448, 1)};
  EXPECT_EQ(std::ranges::min(reduce(white).pixels), 255);
  const Morphology shape = analyse(bar(), 16).value();
  const GreyImage again = reduce(shape.stroke);
  EXPECT_EQ(again.row(14)[14], 255);
  for (const int x : {4, 23}) EXPECT_NEAR(again.row(14)[x], again.row(13)[27 - x], 1);
  EXPECT_NEAR(std::accumulate(again.pixels.begin(), again.pixels.end(), 0.0) / 255, 79.5, 0.7);
  EXPECT_EQ(enlarge(bar(), 1).pixels, bar().pixels);
  diffscm::testing::expect_error([] { enlarge(bar(), 0); }, "give 1 to 16");
  diffscm::testing::expect_error([] { reduce(Mask{5, 4, 4, std::vector<uint8_t>(20)}); }, "5 x 4");
}

}  // namespace
}  // namespace diffscm::data::morpho
