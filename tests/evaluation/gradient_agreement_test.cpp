// On a mixture of Gaussians, where both gradients are known, they agree at every noise level; what
// is wrong with one of them shows in the number that it should.
#include "evaluation/gradient_agreement.h"

#include <gtest/gtest.h>

#include <numeric>

#include "kernels/error.h"
#include "tests/diffusion/analytic.h"

namespace diffscm {
namespace {

constexpr int64_t kImages = 6;

struct Mixture : public ::testing::Test {
  NoiseSchedule schedule{ScheduleKind::linear, 1000};
  analytic::Mixture world{{{-0.5, 0.3, 0.1, 0.2}, {0.6, -0.2, 0.4, -0.1}},
                          {0.04, 0.09, 0.04, 0.16}};
  std::vector<int64_t> index = std::vector<int64_t>(kImages);
  Tensor x0;

  Mixture() {
    std::iota(index.begin(), index.end(), 10);
    std::vector<float> pixels;
    for (int64_t i = 0; i < kImages * 4; ++i)
      pixels.push_back(0.3f * std::sin(static_cast<float>(3 * i)));
    x0 = Tensor::from(pixels, {kImages, 2, 2, 1});
  }
  std::vector<GradientAgreement> compare(const GuidanceGradient& gradient) const {
    return gradient_agreement(gradient, analytic::epsilon_of(world, schedule),
                              analytic::epsilon_of(world, schedule, 1), x0, index, schedule, 5, 3);
  }
};
using GradientAgreementTest = Mixture;

TEST_F(GradientAgreementTest, OfExactNetworksIsPerfectAtEveryLevel) {
  const auto levels =
      compare(analytic::posterior_gradient(world, schedule, std::vector<int64_t>(kImages, 1)));
  ASSERT_EQ(levels.size(), 5u);
  EXPECT_EQ(levels[0].timestep, 0);
  EXPECT_EQ(levels[2].timestep, 499);
  EXPECT_EQ(levels[4].timestep, 999);
  EXPECT_EQ(levels[2].alpha_bar, schedule.alpha_bar(499));
  for (const GradientAgreement& level : levels) {
    EXPECT_EQ(level.cosine.count, kImages);
    EXPECT_NEAR(level.cosine.mean, 1, 1e-3) << level.timestep;
    EXPECT_NEAR(level.ratio.mean, 1, 1e-2) << level.timestep;
  }
}

TEST_F(GradientAgreementTest, SeesAFactorInTheRatioAndASignInTheCosine) {
  const GuidanceGradient exact =
      analytic::posterior_gradient(world, schedule, std::vector<int64_t>(kImages, 1));
  const auto levels = compare([exact](const Tensor& x, const auto& t) {
    const Tensor g = exact(x, t);
    std::vector<float> values = g.to_vector();
    for (float& v : values) v *= -2;
    return Tensor::from(values, g.shape());
  });
  for (const GradientAgreement& level : levels) {
    EXPECT_NEAR(level.cosine.mean, -1, 1e-3) << level.timestep;
    EXPECT_NEAR(level.ratio.mean, 2, 2e-2) << level.timestep;
  }
}

TEST_F(GradientAgreementTest, DoesNotCountImagesWithoutAGradient) {
  const auto levels =
      compare([](const Tensor& x, const auto&) { return Tensor::zeros(x.shape(), x.target()); });
  for (const GradientAgreement& level : levels) EXPECT_EQ(level.cosine.count, 0);
  EXPECT_THROW(compare({}), Error);
}

}  // namespace
}  // namespace diffscm
