#include "data/morpho/morphometry.h"

#include <algorithm>
#include <numeric>
#include <random>

#include "data/morpho/medial_axis.h"
#include "tests/data/morpho/morpho_testing.h"

namespace diffscm::data::morpho {
namespace {

TEST(Morphometry, the_first_training_image_measures_as_published) {
  const auto digit = first_training_image();
  if (!digit) GTEST_SKIP() << "MNIST is not on this machine";
  const Morphometrics m = measure(*digit).value();
  EXPECT_EQ(fmt::format("{}", m.area), "107.3125");
  EXPECT_EQ(fmt::format("{}", m.length), "50.26650429449552");
  EXPECT_EQ(fmt::format("{}", m.thickness), "2.4606583773939543");
  EXPECT_EQ(fmt::format("{}", m.slant), "0.23107446620980754");
  EXPECT_EQ(fmt::format("{}", m.width), "14.539571782767355");
  EXPECT_EQ(fmt::format("{}", m.height), "19.849053691610763");
  const Morphology shape = analyse(*digit, kMeasureScale).value();
  EXPECT_EQ(std::accumulate(shape.hires.pixels.begin(), shape.hires.pixels.end(), 0), 441216);
  EXPECT_EQ(std::ranges::count(shape.stroke.pixels, 1), 1717);
  EXPECT_EQ(std::ranges::count(shape.skeleton.pixels, 1), 169);
}

// Of scikit-image's medial_axis with rng = RandomState(0), on v0.18's enlarged image.
TEST(Morphometry, a_bar_measures_as_scikit_image_does) {
  struct Case {
    int scale, skeleton;
    double thickness, area;
  };
  for (const Case& c : {Case{1, 24, 3.6666666666666665, 80}, Case{4, 80, 3.83125, 79.75},
                        Case{16, 316, 3.820411392405063, 79.46875}}) {
    SCOPED_TRACE(c.scale);
    EXPECT_DOUBLE_EQ(measure(bar(), c.scale)->thickness, c.thickness);
    EXPECT_EQ(measure(bar(), c.scale)->area, c.area);
    EXPECT_EQ(std::ranges::count(analyse(bar(), c.scale)->skeleton.pixels, 1), c.skeleton);
  }
}

TEST(Morphometry, what_has_no_stroke_is_not_measured) {
  for (const uint8_t level : {0, 77, 255}) {
    const GreyImage flat{28, 28, 1, std::vector<uint8_t>(28 * 28, level)};
    EXPECT_FALSE(measure(flat).has_value());
    EXPECT_FALSE(analyse(flat, kEditScale).has_value());
  }
}

TEST(Morphometry, a_frame_to_the_edges_is_measured) {
  GreyImage frame = box(0, 28, 0, 28);
  for (int y = 5; y < 23; ++y) std::fill_n(frame.row(y) + 5, 18, uint8_t{0});
  const Morphometrics m = measure(frame).value();
  EXPECT_NEAR(m.area, 28 * 28 - 18 * 18, 3);
  EXPECT_GT(m.thickness, 5);  // beyond the edge is not background
}

TEST(Morphometry, intensity_is_the_median_of_the_stroke) {
  GreyImage image = bar();
  EXPECT_EQ(intensity_of(image), 255);
  for (int x = 4; x < 24; ++x) image.row(12)[x] = image.row(13)[x] = 201;
  EXPECT_EQ(intensity_of(image), (255 + 201) / 2.0);
  for (int x = 4; x < 24; ++x) image.row(12)[x] = 127;  // less than half of 255
  EXPECT_EQ(intensity_of(image), 255);
}

TEST(MedialAxis, distances_are_exact) {
  std::mt19937 random(1);
  for (const auto& [height, width] : {std::pair(9, 13), std::pair(1, 20), std::pair(20, 1)})
    for (const unsigned sparse : {2u, 12u, 60u}) {
      Mask mask{height, width, 1, {}};
      for (int i = 0; i < height * width; ++i) mask.pixels.push_back(random() % sparse != 0);
      mask.pixels[0] = 0;
      const std::vector<int> squared = squared_distances(mask);
      for (int i = 0; i < height * width; ++i) {
        int nearest = 1 << 20;
        for (int j = 0; j < height * width; ++j) {
          const int dy = i / width - j / width, dx = i % width - j % width;
          if (!mask.pixels[static_cast<size_t>(j)]) nearest = std::min(nearest, dy * dy + dx * dx);
        }
        ASSERT_EQ(squared[static_cast<size_t>(i)], nearest) << i;
      }
    }
  diffscm::testing::expect_error([] { squared_distances(Mask{2, 2, 1, {1, 1, 1, 1}}); }, "all set");
}

TEST(MedialAxis, keeps_lines_and_loops) {
  // A ring of width 3 and a line of width 1.
  Mask mask{15, 15, 1, std::vector<uint8_t>(225)};
  for (int y = 1; y < 10; ++y)
    for (int x = 1; x < 10; ++x) mask.row(y)[x] = !(y > 3 && y < 7 && x > 3 && x < 7);
  for (int x = 1; x < 14; ++x) mask.row(12)[x] = 1;
  const Mask axis = medial_axis(mask, squared_distances(mask));
  for (int x = 1; x < 14; ++x) EXPECT_EQ(axis.row(12)[x], 1) << x;
  int ring = 0;
  for (int y = 0; y < 10; ++y)
    ring += static_cast<int>(std::count(axis.row(y), axis.row(y) + 15, 1));
  EXPECT_GE(ring, 16);
  EXPECT_LE(ring, 30);
  EXPECT_EQ(axis.row(5)[2], 1);  // the middle of the ring's left side
  EXPECT_EQ(axis.row(5)[1] + axis.row(5)[3], 0);
}

}  // namespace
}  // namespace diffscm::data::morpho
