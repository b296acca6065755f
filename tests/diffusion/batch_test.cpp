#include "diffusion/batch.h"

#include <gtest/gtest.h>

namespace diffscm {
namespace {

TEST(ShrinkChange, KeepsSmallChangesOutByPixel) {
  constexpr float kLevel = 1 / 127.5f;
  // Pixels of two channels, in grey levels: not moved, by 7, by 15 and 3, by 20 and -40.
  const std::vector<float> before{0, 0, 0, 0, 0.5f, 0.5f, 0, 0},
      after{0, 0, 7 * kLevel, 0, 0.5f + 15 * kLevel, 0.5f + 3 * kLevel, 20 * kLevel, -40 * kLevel},
      expected{0, 0, 0, 0, 0.5f + 7.5f * kLevel, 0.5f + 1.5f * kLevel, 20 * kLevel, -40 * kLevel};
  const Tensor was = Tensor::from(before, {1, 2, 2, 2}), is = Tensor::from(after, {1, 2, 2, 2});
  const std::vector<float> out = shrink_change(was, is, 10).to_vector();
  for (size_t i = 0; i < out.size(); ++i) EXPECT_NEAR(out[i], expected[i], 1e-6) << i;
  EXPECT_EQ(shrink_change(was, is, 0).to_vector(), after);
  EXPECT_THROW(shrink_change(was, is, -1), Error);
}

}  // namespace
}  // namespace diffscm
