#include "data/morpho/morphometry.h"

#include <algorithm>
#include <numeric>

#include "tests/data/morpho/morpho_testing.h"

namespace diffscm::data::morpho {
namespace {

TEST(Morphometry, the_first_training_image_measures_as_published) {
  const auto digit = first_training_image();
  if (!digit) GTEST_SKIP() << "MNIST is not on this machine";
  const Morphometrics m = measure(*digit).value();
  EXPECT_EQ(fmt::format("{}", m.area), "107.3125");
  EXPECT_DOUBLE_EQ(m.length, 50.26650429449552);
  EXPECT_EQ(fmt::format("{}", m.thickness), "2.4606583773939543");
  EXPECT_EQ(fmt::format("{}", m.slant), "0.23107446620980754");
  EXPECT_EQ(fmt::format("{}", m.width), "14.539571782767355");
  EXPECT_EQ(fmt::format("{}", m.height), "19.849053691610763");
  const Morphology shape = analyse(*digit, kMeasureScale).value();
  EXPECT_EQ(std::accumulate(shape.hires.pixels.begin(), shape.hires.pixels.end(), 0), 441216);
  EXPECT_EQ(std::ranges::count(shape.stroke.pixels, 1), 1717);
  EXPECT_EQ(std::ranges::count(shape.skeleton.pixels, 1), 169);
}

TEST(Morphometry, a_bar_measures_as_scikit_image_does) {
  struct Case {
    int scale;
    double thickness, area;
    int skeleton;
  };
  for (const Case& c : {Case{1, 3.6666667, 80, 24}}) {
    SCOPED_TRACE(c.scale);
    EXPECT_NEAR(measure(bar(), c.scale)->thickness, c.thickness, 1e-7);
    EXPECT_EQ(measure(bar(), c.scale)->area, c.area);
    EXPECT_EQ(std::ranges::count(analyse(bar(), c.scale)->skeleton.pixels, 1), c.skeleton);
  }
}

}  // namespace
}  // namespace diffscm::data::morpho
