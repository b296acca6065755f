#include "diffusion/sampler.h"

#include <gtest/gtest.h>

#include <numeric>

#include "diffusion/batch.h"
#include "tests/diffusion/analytic.h"

namespace diffscm {
namespace {

using analytic::gaussian;
using analytic::Mixture;

const NoiseSchedule& linear() {
  static const NoiseSchedule schedule(ScheduleKind::linear, 1000);
  return schedule;
}

struct Moments {
  double mean = 0, deviation = 0;
};
Moments moments(const Tensor& x) {
  const std::vector<float> v = x.to_vector();
  Moments m;
  for (const float f : v) m.mean += f / static_cast<double>(v.size());
  for (const float f : v)
    m.deviation += (f - m.mean) * (f - m.mean) / static_cast<double>(v.size());
  m.deviation = std::sqrt(m.deviation);
  return m;
}

// The probability-flow ODE of N(mu, s^2) in closed form: quantiles are kept, so the standardised
// value at one level is that at every other.
Tensor exact_flow(const Chain& chain, int from, int to, const Tensor& x, double mu, double s) {
  const double a = chain.alpha_bar(from), b = chain.alpha_bar(to);
  const double ratio = std::sqrt((b * s * s + 1 - b) / (a * s * s + 1 - a));
  return analytic::per_image(x, [&](std::span<const float> in, std::span<float> out) {
    for (size_t e = 0; e < in.size(); ++e)
      out[e] = static_cast<float>(std::sqrt(b) * mu + ratio * (in[e] - std::sqrt(a) * mu));
  });
}

constexpr double kMean = -0.7, kDeviation = 0.3;

// x_{l-1} - E x_{l-1} = factor (x_l - E x_l) + noise z.
struct AffineStep {
  double factor, noise;
};

// One step of each sampler on N(kMean, kDeviation^2), from the papers' own formulas.
AffineStep affine_step(const Chain& chain, int level, const SamplerOptions& o) {
  const double a = chain.alpha_bar(level), b = chain.alpha_bar(level - 1);
  // eps, a multiple of the distance to the mean.
  const double eps = std::sqrt(1 - a) / (a * kDeviation * kDeviation + 1 - a);
  const double beta = 1 - a / b, posterior = beta * (1 - b) / (1 - a);
  const double sigma_a = chain.sigma(level), sigma_b = chain.sigma(level - 1);
  const bool last = level == 1;
  switch (o.kind) {
    case SamplerKind::ddpm:  // Ho et al. 2020, eq. 11
      return {(1 - beta / std::sqrt(1 - a) * eps) / std::sqrt(1 - beta),
              last                                      ? 0
              : o.variance == DdpmVariance::fixed_large ? std::sqrt(beta)
                                                        : std::sqrt(posterior)};
    case SamplerKind::ddim: {  // Song et al. 2021, eq. 12
      const double sigma = o.eta * std::sqrt(posterior);
      return {std::sqrt(b) * (1 - std::sqrt(1 - a) * eps) / std::sqrt(a) +
                  std::sqrt(1 - b - sigma * sigma) * eps,
              sigma};
    }
    case SamplerKind::sde:  // Euler-Maruyama in y = x / sqrt(alpha_bar)
      return {std::sqrt(b / a) *
                  (1 - (sigma_a * sigma_a - sigma_b * sigma_b) / sigma_a * std::sqrt(a) * eps),
              last ? 0 : std::sqrt(b * (sigma_a * sigma_a - sigma_b * sigma_b))};
    case SamplerKind::ode: {  // Heun in the same y
      const double here = std::sqrt(a) * eps, h = sigma_b - sigma_a;
      const double there = last ? here
                                : std::sqrt(b) * std::sqrt(1 - b) /
                                      (b * kDeviation * kDeviation + 1 - b) * (1 + h * here);
      return {std::sqrt(b / a) * (1 + h * (here + there) / 2), 0};
    }
  }
  return {};
}

class EverySampler : public testing::TestWithParam<SamplerOptions> {};

// So few levels that the samplers differ by far more than their samples scatter.
TEST_P(EverySampler, HasTheMomentsOfItsOwnChain) {
  const Chain chain(linear(), 25);
  double mean = -std::sqrt(chain.alpha_bar(25)) * kMean, variance = 1;
  double factor = 1;
  bool noisy = false;
  for (int level = 25; level >= 1; --level) {
    const AffineStep step = affine_step(chain, level, GetParam());
    mean *= step.factor;
    variance = step.factor * step.factor * variance + step.noise * step.noise;
    factor *= step.factor;
    noisy |= step.noise > 0;
  }
  const Tensor start = initial_noise({64, 8, 8, 4}, {}, 11);
  const Tensor x = sample(epsilon_of(gaussian(kMean, kDeviation, 256), linear()), {}, chain, 0,
                          start, GetParam());
  const Moments m = moments(x);
  // Three standard errors of 16384 numbers.
  const double deviation = std::sqrt(variance);
  EXPECT_NEAR(m.mean, kMean + mean, 3 * deviation / 128);
  EXPECT_NEAR(m.deviation, deviation, 3 * deviation / 181);
  if (noisy) return;
  const std::vector<float> from = start.to_vector(), to = x.to_vector();
  const double top = std::sqrt(chain.alpha_bar(25)) * kMean;
  for (size_t i = 0; i < to.size(); ++i)
    ASSERT_NEAR(to[i], kMean + factor * (from[i] - top), 1e-5) << i;
}

INSTANTIATE_TEST_SUITE_P(Kinds, EverySampler,
                         testing::Values(SamplerOptions{.kind = SamplerKind::ddim},
                                         SamplerOptions{.kind = SamplerKind::ddim, .eta = 1},
                                         SamplerOptions{.kind = SamplerKind::ddpm},
                                         SamplerOptions{.kind = SamplerKind::ddpm,
                                                        .variance = DdpmVariance::fixed_large},
                                         SamplerOptions{.kind = SamplerKind::ode},
                                         SamplerOptions{.kind = SamplerKind::sde}));

TEST(Sampler, PerPixelVariance) {
  Mixture world{{{-0.9, 0.1, 0.8, 0.0}}, {0.01, 0.25, 0.04, 1.0}};
  const Chain chain(linear(), 200);
  const Tensor start = initial_noise({1024, 1, 1, 4}, {}, 3);
  for (const SamplerKind kind : {SamplerKind::ddim, SamplerKind::ddpm, SamplerKind::ode}) {
    const auto x =
        sample(epsilon_of(world, linear()), {}, chain, 0, start, {.kind = kind}).to_vector();
    for (size_t e = 0; e < 4; ++e) {
      std::vector<float> pixel;
      for (size_t n = 0; n < 1024; ++n) pixel.push_back(x[n * 4 + e]);
      const Moments m = moments(Tensor::from(pixel, {1024, 1}));
      const double s = std::sqrt(world.variance[e]);
      EXPECT_NEAR(m.mean, world.mean[0][e], 0.1 * s + 0.005) << name_of(kind) << e;
      EXPECT_NEAR(m.deviation, s, 0.08 * s + 0.005) << name_of(kind) << e;
    }
  }
}

// v = -1 is the posterior's variance and v = 1 the forward step's, in the noise and in guidance; 0
// lies between, on the scale of logarithms.
TEST(Sampler, LearntVarianceEndsAreTheFixedOnes) {
  const size_t elements = 16;
  const Mixture world{{std::vector<double>(elements, -0.6), std::vector<double>(elements, 0.6)},
                      std::vector<double>(elements, 0.04)};
  const EpsilonModel epsilon = epsilon_of(world, linear());
  const GuidanceGradient towards = posterior_gradient(world, linear(), std::vector<int64_t>(8, 1));
  const Chain chain(linear(), 20);
  const Tensor start = initial_noise({8, 4, 4, 1}, {}, 1);
  const auto walk = [&](SamplerOptions options) {
    options.kind = SamplerKind::ddpm;
    return sample(epsilon, {.gradients = {{towards, 2}}}, chain, 0, start, options).to_vector();
  };
  const auto learnt = [&](float v) {  // of a larger batch than is asked about
    return walk({.variance = DdpmVariance::learnt, .learnt = [v] {
                   return Tensor::full({16, 4, 4, 1}, v);
                 }});
  };
  const auto expect_near = [](const std::vector<float>& a, const std::vector<float>& b) {
    for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 2e-5) << i;
  };
  expect_near(learnt(1), walk({.variance = DdpmVariance::fixed_large}));
  EXPECT_NE(learnt(0), learnt(1));
  EXPECT_THROW(walk({.variance = DdpmVariance::learnt}), Error);

  const auto unguided = [&](const SamplerOptions& options) {
    return sample(epsilon, {}, chain, 0, start, options).to_vector();
  };
  expect_near(unguided({.kind = SamplerKind::ddpm,
                        .variance = DdpmVariance::learnt,
                        .learnt =
                            [] {
                              return Tensor::full({8, 4, 4, 1}, -1);
                            }}),
              unguided({.kind = SamplerKind::ddpm}));
}

// The error of DDIM against the exact flow halves when S doubles; that of Heun falls fourfold.
// Every grid has timestep 0 at level 1, so the last step, Euler for both, is the same map on all
// and is left out.
TEST(Sampler, OrderOfConvergence) {
  const EpsilonModel epsilon = epsilon_of(gaussian(kMean, kDeviation, 64), linear());
  const auto error = [&](SamplerKind kind, int levels, int top) {
    const Chain chain(linear(), levels);
    // Start at a timestep that all grids share.
    const int level = top * levels / 100 + 1;
    const Tensor start = initial_noise({2, 8, 8, 1}, {}, 5);
    const Tensor exact_1 = exact_flow(chain, level, 1, start, kMean, kDeviation);
    const Tensor exact_0 = transfer(chain, 1, 0, exact_1, epsilon(exact_1, chain.timestep(1)));
    const Tensor x = sample(epsilon, {}, chain, level, start, {.kind = kind});
    return analytic::worst_grey_levels(x, exact_0);
  };
  const double ddim_100 = error(SamplerKind::ddim, 100, 80),
               ddim_200 = error(SamplerKind::ddim, 200, 80);
  EXPECT_NEAR(ddim_100 / ddim_200, 2, 0.2) << ddim_100 << " " << ddim_200;
  const double ode_50 = error(SamplerKind::ode, 50, 80), ode_100 = error(SamplerKind::ode, 100, 80);
  EXPECT_NEAR(ode_50 / ode_100, 4, 0.9) << ode_50 << " " << ode_100;
  EXPECT_LT(ode_100, ddim_100 / 5);
}

TEST(Sampler, AnImageDoesNotDependOnItsBatch) {
  const Chain chain(linear(), 20);
  const EpsilonModel epsilon = epsilon_of(gaussian(0.2, 0.5, 16), linear());
  const std::vector<int64_t> all{7, 3, 1'000'000'007, 0}, alone{1'000'000'007};
  for (const SamplerKind kind : {SamplerKind::ddpm, SamplerKind::sde, SamplerKind::ddim}) {
    const SamplerOptions options{
        .kind = kind, .eta = kind == SamplerKind::ddim ? 0.5 : 0, .seed = 9};
    const Tensor many =
        sample(epsilon, {}, chain, 0, initial_noise({4, 4, 4, 1}, all, 9), options, all);
    const Tensor one =
        sample(epsilon, {}, chain, 0, initial_noise({1, 4, 4, 1}, alone, 9), options, alone);
    EXPECT_EQ(many.slice(2, 3).to_vector(), one.to_vector()) << name_of(kind);
    EXPECT_NE(many.slice(1, 2).to_vector(), one.to_vector()) << name_of(kind);
  }
}

TEST(Sampler, GuidanceMovesToTheTargetComponent) {
  const size_t elements = 16;
  const Mixture world{{std::vector<double>(elements, -0.6), std::vector<double>(elements, 0.6)},
                      std::vector<double>(elements, 0.04)};
  const EpsilonModel epsilon = epsilon_of(world, linear());
  const GuidanceGradient towards = posterior_gradient(world, linear(), std::vector<int64_t>(64, 1));
  const Chain chain(linear(), 100);
  const Tensor start = initial_noise({64, 4, 4, 1}, {}, 1);
  const auto share = [&](const Tensor& x) {
    double hits = 0;
    for (int64_t n = 0; n < 64; ++n)
      hits += world.posterior(x.slice(n, n + 1).to_vector(), 1.0 - 1e-9)[1] > 0.5;
    return hits / 64;
  };
  for (const SamplerKind kind :
       {SamplerKind::ddim, SamplerKind::ddpm, SamplerKind::ode, SamplerKind::sde}) {
    const Tensor free =
        sample(epsilon, {.gradients = {{towards, 0}}}, chain, 0, start, {.kind = kind});
    EXPECT_NEAR(share(free), 0.5, 0.2) << name_of(kind);
    // With the exact posterior and s = 1, guidance samples p(x | component) itself.
    const Tensor guided =
        sample(epsilon, {.gradients = {{towards}}}, chain, 0, start, {.kind = kind});
    EXPECT_EQ(share(guided), 1.0) << name_of(kind);
    EXPECT_NEAR(moments(guided).mean, 0.6, 0.03) << name_of(kind);
    EXPECT_NEAR(moments(guided).deviation, 0.2, 0.03) << name_of(kind);
  }
  // The same by a condition, at s = 1 (the conditional model itself).
  const EpsilonModel conditional = epsilon_of(world, linear(), 1);
  const Tensor with = sample(epsilon, {.conditions = {{conditional}}}, chain, 0, start, {});
  EXPECT_EQ(share(with), 1.0);
  EXPECT_EQ(with.to_vector(), sample(conditional, {}, chain, 0, start, {}).to_vector());
}

TEST(Sampler, ScaleZeroNeverAsksTheGuidance) {
  const Chain chain(linear(), 10);
  const EpsilonModel epsilon = epsilon_of(gaussian(0, 1, 4), linear());
  const GuidanceGradient never = [](const Tensor&, const Tensor&) -> Tensor { fail("asked"); };
  const Tensor start = initial_noise({1, 2, 2, 1}, {}, 1);
  const auto guided = [&](double gradient, double condition) {
    sample(epsilon, {.gradients = {{never, gradient}}, .conditions = {{never, condition}}}, chain,
           0, start, {});
  };
  EXPECT_NO_THROW(guided(0, 0));
  EXPECT_THROW(guided(0.1, 0), Error);
  EXPECT_THROW(guided(0, 0.1), Error);
}

TEST(Sampler, ThresholdsKeepUnguidedImagesInRange) {
  const Chain chain(linear(), 50);
  const EpsilonModel epsilon = epsilon_of(gaussian(0.9, 0.8, 256), linear());
  const Tensor start = initial_noise({4, 16, 16, 1}, {}, 2);
  for (const auto kind : {kernels::Threshold::clip, kernels::Threshold::dynamic})
    for (const SamplerKind sampler : {SamplerKind::ddim, SamplerKind::ddpm})
      for (const float v :
           sample(epsilon, {}, chain, 0, start, {.kind = sampler, .threshold = {kind, 0.99}})
               .to_vector())
        ASSERT_LE(std::abs(v), 1.0001f);
}

TEST(Sampler, ReportsProgressAndStopsWhenItThrows) {
  const Chain chain(linear(), 10);
  const EpsilonModel epsilon = epsilon_of(gaussian(0, 1, 4), linear());
  const Tensor start = initial_noise({1, 2, 2, 1}, {}, 1);
  const std::vector<float> before = start.to_vector();
  std::vector<int> seen;
  const Progress stop = [&](int done, int total) {
    EXPECT_EQ(total, 6);
    seen.push_back(done);
    if (done == 3) throw std::runtime_error("stop");
  };
  EXPECT_THROW(sample(epsilon, {}, chain, 6, start, {}, {}, stop), std::runtime_error);
  EXPECT_EQ(seen, (std::vector<int>{1, 2, 3}));
  EXPECT_EQ(start.to_vector(), before);
}

TEST(Sampler, Refuses) {
  const Chain chain(linear(), 10);
  const EpsilonModel epsilon = epsilon_of(gaussian(0, 1, 4), linear());
  const Tensor start = initial_noise({2, 2, 2, 1}, {}, 1);
  const auto run = [&](const SamplerOptions& o) { sample(epsilon, {}, chain, 0, start, o); };
  EXPECT_THROW(run({.eta = 1.5}), Error);
  EXPECT_THROW(run({.kind = SamplerKind::ode, .eta = 0.5}), Error);
  EXPECT_THROW(run({.threshold = {kernels::Threshold::dynamic, 0}}), Error);
  EXPECT_THROW(run({.kind = SamplerKind::sde, .threshold = {kernels::Threshold::clip, 0.99}}),
               Error);
  EXPECT_THROW(sample(epsilon, {}, chain, 11, start, {}), Error);
  EXPECT_THROW(sample(epsilon, {}, chain, 0, Tensor{}, {}), Error);
  EXPECT_THROW(run({.variance = DdpmVariance::fixed_large}), Error);
  EXPECT_THROW(sample({}, {}, chain, 0, start, {}), Error);
  const std::vector<int64_t> one{1};
  EXPECT_THROW(sample(epsilon, {}, chain, 0, start, {}, one), Error);
  const EpsilonModel wrong = [](const Tensor&, const Tensor&) { return Tensor::zeros({1, 2}); };
  EXPECT_THROW(sample(wrong, {}, chain, 0, start, {}), Error);
  EXPECT_THROW(parse_sampler_kind("euler"), Error);
  EXPECT_THROW(parse_threshold("soft"), Error);
  EXPECT_THROW(parse_ddpm_variance("medium"), Error);
}

}  // namespace
}  // namespace diffscm
