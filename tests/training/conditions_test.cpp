#include "training/conditions.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/error.h"

namespace diffscm {
namespace {

data::Dataset three_images() {
  data::Dataset d;
  d.name = "three";
  d.height = d.width = d.channels = 1;
  d.pixels = {0, 0, 0};
  d.add({.name = "animal", .states = {"cat", "dog"}}, {0, 1, 1});
  d.add({.name = "width"}, {1, 2, 6});
  return d;
}

TEST(Conditions, DescribeTheDataSet) {
  const std::vector<std::string> names{"class", "width"};
  const auto conditions = conditions_of(three_images(), names);
  ASSERT_EQ(conditions.size(), 2u);
  EXPECT_EQ(conditions[0].name, "animal");
  EXPECT_EQ(conditions[0].classes, 2);
  EXPECT_NEAR(conditions[1].mean, 3, 1e-12);
  EXPECT_NEAR(conditions[1].deviation, std::sqrt(14.0 / 3), 1e-12);
  const std::vector<int64_t> index{2, 0};
  EXPECT_EQ(condition_values(conditions, three_images(), index), (std::vector<double>{1, 6, 0, 1}));
}

TEST(Conditions, RefuseWhatTheDataSetLacksAndWhatNeverChanges) {
  const std::vector<std::string> unknown{"height"};
  EXPECT_THROW(conditions_of(three_images(), unknown), Error);
  data::Dataset same = three_images();
  same.values[1] = {2, 2, 2};
  const std::vector<std::string> width{"width"};
  EXPECT_THROW(conditions_of(same, width), Error);
}

TEST(Conditions, AreForgottenAtTheRateAskedForAllOfAnImageAtOnce) {
  int forgotten = 0;
  for (int64_t step = 0; step < 100; ++step) {
    std::vector<double> values(2 * 100, 1.0), again = values;
    forget(values, 2, 0.25, 7, step);
    forget(again, 2, 0.25, 7, step);
    for (size_t i = 0; i < 100; ++i) {
      EXPECT_EQ(std::isnan(values[2 * i]), std::isnan(values[2 * i + 1]));
      EXPECT_EQ(std::isnan(values[2 * i]), std::isnan(again[2 * i]));
      forgotten += std::isnan(values[2 * i]);
    }
  }
  EXPECT_NEAR(forgotten, 2500, 4 * std::sqrt(10'000 * 0.25 * 0.75));
  std::vector<double> values(64, 1.0);
  forget(values, 1, 0, 7, 0);
  EXPECT_EQ(values, std::vector<double>(64, 1.0));
}

}  // namespace
}  // namespace diffscm
