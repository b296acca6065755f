// Standard normal tensors: a sample's noise is its own.
#include "engine/random.h"

#include <gtest/gtest.h>

#include "tests/engine/io_testing.h"

namespace diffscm {
namespace {

TEST(StandardNormal, DependsOnTheKeyAndTheSamplesIndexAlone) {
  const kernels::RandomKey key{5, kernels::Purpose::noise, 2};
  const std::vector<int64_t> index{7, 3};
  const Tensor both = standard_normal({2, 3, 3, 1}, key, index, Target::cpu);
  EXPECT_EQ(both.shape(), (Shape{2, 3, 3, 1}));
  const Tensor alone = standard_normal({1, 9}, key, std::vector<int64_t>{3}, Target::cpu);
  EXPECT_EQ(both.slice(1, 2).to_vector(), alone.to_vector());
  EXPECT_NE(both.slice(0, 1).to_vector(), alone.to_vector());
  const Tensor counted = standard_normal({4, 9}, key, {}, Target::cpu);
  EXPECT_EQ(counted.slice(3, 4).to_vector(), alone.to_vector());
  EXPECT_NE(
      standard_normal({1, 9}, {6, kernels::Purpose::noise, 2}, std::vector<int64_t>{3}, Target::cpu)
          .to_vector(),
      alone.to_vector());
  EXPECT_EQ(standard_normal({0, 9}, key, {}, Target::cpu).numel(), 0);
  testing::expect_error(
      [&] {
        standard_normal({3, 9}, key, index, Target::cpu);
      },
      "2 sample indices for 3 images");
}

}  // namespace
}  // namespace diffscm
