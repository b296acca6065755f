#include "causal/mechanisms/marginal_transform.h"

#include <cmath>

#include "causal/mechanisms/features.h"
#include "tests/causal/scm_testing.h"

namespace diffscm::causal {
namespace {

// exp(u): long to the right, crowded at 0.
std::vector<double> lognormal() {
  std::vector<double> x;
  for (uint64_t i = 0; i < 5000; ++i) x.push_back(std::exp(RandomStream({.seed = 4}, i).normal()));
  return x;
}

// Beyond what can be squared in double precision, above and below.
TEST(Standard, IsOfAnySize) {
  for (const double unit : {1e300, 1e-200}) {
    const Standard s = Standard::of(std::vector<double>{-1 * unit, 3 * unit});
    EXPECT_NEAR(s.mean / unit, 1, 1e-12);
    EXPECT_NEAR(s.deviation / unit, 2, 1e-12);
  }
  EXPECT_EQ(Standard::of(std::vector<double>{0, 0}).deviation, 1);
}

TEST(MarginalTransform, StandardisesAndReturns) {
  const std::vector<double> x = lognormal();
  for (const double share : {0.0, 0.5, 1.0}) {
    const MarginalTransform t = MarginalTransform::of(x, share);
    std::vector<double> z;
    for (const double v : x) z.push_back(t.to(v));
    const Standard of_z = Standard::of(z);
    EXPECT_NEAR(of_z.mean, 0, 1e-9);
    EXPECT_NEAR(of_z.deviation, 1, 1e-9);
    for (const double v : {-2.0, 1e-6, 0.4, 1.0, 7.0, 500.0}) {
      EXPECT_NEAR(t.from(t.to(v)), v, 1e-9 * (1 + std::abs(v)));
      const double h = 1e-7, slope = (t.to(v + h) - t.to(v - h)) / (2 * h);
      EXPECT_NEAR(t.log_slope(v), std::log(slope), 1e-4) << v;
    }
  }
  const Standard standard = Standard::of(x);
  EXPECT_NEAR(MarginalTransform::of(x, 0).to(30), standard.to(30), 1e-9);
}

TEST(MarginalTransform, ScoresMakeANormal) {
  const MarginalTransform scores = MarginalTransform::of(lognormal(), 1);
  for (const double u : {-2.0, -1.0, 0.0, 1.0, 2.0}) EXPECT_NEAR(scores.to(std::exp(u)), u, 0.12);
}

TEST(MarginalTransform, TakesTiesAndConstants) {
  std::vector<double> x(1000, 3.0);
  const MarginalTransform constant = MarginalTransform::of(x, 0.5);
  EXPECT_EQ(constant.to(3), 0);
  EXPECT_EQ(constant.to(4.5), 1.5);
  for (size_t i = 0; i < 400; ++i) x[i] = 8;
  const MarginalTransform two = MarginalTransform::of(x, 0.5);
  EXPECT_LT(two.to(3), two.to(8));
  EXPECT_NEAR(two.from(two.to(5)), 5, 1e-9);
}

TEST(MarginalTransform, TravelsThroughJson) {
  const MarginalTransform t = MarginalTransform::of(lognormal(), 0.5);
  const auto back = nlohmann::json::parse(nlohmann::json(t).dump()).get<MarginalTransform>();
  EXPECT_EQ(back.to(0.7), t.to(0.7));
  for (const char* bad :
       {R"([1, 2])", R"({"x": [0, 1], "z": [1, 0]})", R"({"x": [0, 1], "y": []})"})
    EXPECT_ANY_THROW(nlohmann::json::parse(bad).get<MarginalTransform>()) << bad;
}

}  // namespace
}  // namespace diffscm::causal
