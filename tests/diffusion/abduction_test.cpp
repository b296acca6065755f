#include "diffusion/abduction.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "diffusion/batch.h"
#include "diffusion/sampler.h"
#include "tests/diffusion/analytic.h"

namespace diffscm {
namespace {

using analytic::gaussian;
using analytic::Mixture;
using analytic::worst_grey_levels;

const NoiseSchedule& linear() {
  static const NoiseSchedule schedule(ScheduleKind::linear, 1000);
  return schedule;
}
constexpr double kMean = -0.7, kDeviation = 0.3;

// Images [n, 4, 4, 1] of N(kMean, kDeviation^2).
Tensor images(int64_t n, uint64_t seed = 1) {
  const Tensor z = initial_noise({n, 4, 4, 1}, {}, seed);
  return combine(kDeviation, z, kMean, Tensor::full(z.shape(), 1));
}
EpsilonModel gaussian_epsilon(const NoiseSchedule& schedule = linear()) {
  return epsilon_of(gaussian(kMean, kDeviation, 16), schedule);
}
Tensor decode(const EpsilonModel& epsilon, const Chain& chain, const Abduction& u, int levels = 0) {
  return sample(epsilon, {}, chain, levels, u.latent, {});
}

TEST(Abduction, DdimRoundTripIsFirstOrder) {
  const Tensor x = images(8);
  const auto error = [&](int levels) {
    const Chain chain(linear(), levels);
    const auto u = abduct(gaussian_epsilon(), {}, chain, x, {.method = AbductionMethod::ddim});
    EXPECT_EQ(u.evaluations, std::vector<int>(8, levels));
    EXPECT_TRUE(u.residual.empty() && u.converged.empty());
    return worst_grey_levels(x, decode(gaussian_epsilon(), chain, u));
  };
  const double at_100 = error(100), at_200 = error(200);
  EXPECT_NEAR(at_100 / at_200, 2, 0.2) << at_100 << " " << at_200;
}

TEST(Abduction, FixedPointRoundTripIsExact) {
  const Tensor x = images(8);
  for (const ScheduleKind kind : {ScheduleKind::linear, ScheduleKind::cosine}) {
    const NoiseSchedule schedule(kind, 1000);
    const EpsilonModel epsilon = gaussian_epsilon(schedule);
    for (const int levels : {20, 100, 1000}) {
      const Chain chain(schedule, levels);
      const Abduction u = abduct(epsilon, {}, chain, x, {.tolerance = 1e-4});
      EXPECT_EQ(u.converged, std::vector<uint8_t>(8, 1)) << name_of(kind) << levels;
      // The cosine schedule's last step of 1000 multiplies by 31, and so does its round-off.
      for (const float r : u.residual) EXPECT_LE(r, 5e-4f);
      // Residuals add up over the levels at worst.
      EXPECT_LT(worst_grey_levels(x, decode(epsilon, chain, u)), 0.02) << name_of(kind) << levels;
    }
    // A tight tolerance reaches round-off: 1e-5 in units of the image is 1.3e-3 grey levels.
    const Chain chain(schedule, 100);
    const Abduction u = abduct(epsilon, {}, chain, x, {.tolerance = 2e-5});
    EXPECT_LT(worst_grey_levels(x, decode(epsilon, chain, u)), 1e-3) << name_of(kind);
  }
}

TEST(Abduction, CostsFewEvaluations) {
  const Tensor x = images(4);
  const auto count = std::make_shared<int64_t>(0);
  const EpsilonModel epsilon = epsilon_of(gaussian(kMean, kDeviation, 16), linear(), -1, count);
  const Abduction u = abduct(epsilon, {}, Chain(linear(), 100), x, {.tolerance = 2e-3});
  int64_t reported = 0;
  for (const int e : u.evaluations) {
    EXPECT_LT(e, 250);
    reported += e;
  }
  EXPECT_EQ(reported, *count);  // none is spent on images that have converged
}

// The encoder's level L is the decoder's level L: with the part of the chain, or its whole, and
// down to a single level, decode(encode(x)) is x. A slip of one level would cost whole grey levels.
TEST(Abduction, NoOffByOne) {
  const Tensor x = images(4);
  const Chain chain(linear(), 100);
  for (const int levels : {1, 2, 75, 99, 100}) {
    const Abduction u =
        abduct(gaussian_epsilon(), {}, chain, x, {.levels = levels, .tolerance = 1e-4});
    EXPECT_LT(worst_grey_levels(x, decode(gaussian_epsilon(), chain, u, levels)), 5e-3) << levels;
    if (levels == 75) {
      EXPECT_GT(worst_grey_levels(x, decode(gaussian_epsilon(), chain, u, levels + 1)), 0.1)
          << levels;
    }
  }
}

// For a Gaussian every step is affine: it multiplies the distance to the mean by a known factor.
TEST(Abduction, LatentOfTheGaussianInClosedForm) {
  const Tensor x = images(8);
  const Chain chain(linear(), 100);
  double factor = 1;  // from level 100 down to the image
  for (int level = 1; level <= 100; ++level) {
    const double a = chain.alpha_bar(level), b = chain.alpha_bar(level - 1);
    const double eps = std::sqrt(1 - a) / (a * kDeviation * kDeviation + 1 - a);
    factor *= std::sqrt(b / a) * (1 - std::sqrt(1 - a) * eps) + std::sqrt(1 - b) * eps;
  }
  const double top = std::sqrt(chain.alpha_bar(100)) * kMean;
  const auto u = abduct(gaussian_epsilon(), {}, chain, x, {.tolerance = 2e-5}).latent.to_vector();
  const std::vector<float> values = x.to_vector();
  for (size_t i = 0; i < u.size(); ++i)
    EXPECT_NEAR(u[i], top + (values[i] - kMean) / factor, 1e-4) << i;
}

TEST(Abduction, AnImageDoesNotDependOnItsBatch) {
  const Chain chain(linear(), 50);
  // Two components, so that images take different numbers of iterations.
  const Mixture world{{std::vector<double>(16, -0.7), std::vector<double>(16, 0.4)},
                      std::vector<double>(16, 0.05)};
  const EpsilonModel epsilon = epsilon_of(world, linear());
  const Tensor x = images(6);
  const Abduction all = abduct(epsilon, {}, chain, x, {.tolerance = 2e-3});
  for (int64_t n = 0; n < 6; ++n) {
    const Abduction one = abduct(epsilon, {}, chain, x.slice(n, n + 1), {.tolerance = 2e-3});
    const auto i = static_cast<size_t>(n);
    EXPECT_EQ(one.latent.to_vector(), all.latent.slice(n, n + 1).to_vector()) << n;
    EXPECT_EQ(one.residual[0], all.residual[i]);
    EXPECT_EQ(one.converged[0], all.converged[i]);
    EXPECT_EQ(one.evaluations[0], all.evaluations[i]);
  }
}

// eps(x) = k x with the plain iteration's factors, one per pixel, from -6 to 0.8: it diverges.
EpsilonModel expansive(const Chain& chain) {
  const double c = std::sqrt(1 - chain.alpha_bar(1));  // factor of eps in the step up from level 0
  return [c](const Tensor& x, const Tensor&) {
    return analytic::per_image(x, [&](std::span<const float> in, std::span<float> out) {
      constexpr double kFactor[4] = {-6, -2.5, -0.5, 0.8};
      for (size_t e = 0; e < in.size(); ++e)
        out[e] = static_cast<float>(kFactor[e % 4] / c * in[e]);
    });
  };
}

TEST(Abduction, AndersonSolvesWherePlainIterationFails) {
  const Chain chain(NoiseSchedule(ScheduleKind::cosine, 2), 2);  // level 1: alpha_bar 0.49
  const EpsilonModel epsilon = expansive(chain);
  const Tensor x = images(4);

  Tensor plain = x;
  for (int i = 0; i < 10; ++i) plain = transfer(chain, 0, 1, x, epsilon(plain, 0));
  EXPECT_GT(worst_grey_levels(x, transfer(chain, 1, 0, plain, epsilon(plain, 0))), 1e6);

  const Abduction damped = abduct(epsilon, {}, chain, x, {.levels = 1, .memory = 0});
  EXPECT_EQ(damped.converged, std::vector<uint8_t>(4, 0));
  const Abduction u =
      abduct(epsilon, {}, chain, x, {.levels = 1, .tolerance = 1e-4, .max_iterations = 24});
  EXPECT_EQ(u.converged, std::vector<uint8_t>(4, 1));
  EXPECT_LT(worst_grey_levels(x, decode(epsilon, chain, u, 1)), 1e-3);
}

// Two memorised points close to a fork: the score bends sharply between them, and plain iteration
// is thrown from side to side.
TEST(Abduction, BifurcatingScore) {
  const Mixture world{{std::vector<double>(16, -0.8), std::vector<double>(16, 0.8)},
                      std::vector<double>(16, 0.09)};
  const EpsilonModel epsilon = epsilon_of(world, linear());
  const Chain chain(linear(), 100);
  // From firmly in one component to the boundary between them.
  std::vector<float> values;
  for (const float v : {-0.8f, -0.4f, -0.1f, 0.02f}) values.insert(values.end(), 16, v);
  const Tensor x = Tensor::from(values, {4, 4, 4, 1});
  const Abduction u = abduct(epsilon, {}, chain, x, {.tolerance = 1e-4});
  EXPECT_EQ(u.converged, std::vector<uint8_t>(4, 1));
  // Off the border the round trip is exact; on it the decoder magnifies round-off without bound.
  EXPECT_LT(analytic::grey_levels(x, decode(epsilon, chain, u), 0), 0.01);
  const Abduction damped =
      abduct(epsilon, {}, chain, x, {.tolerance = 1e-4, .max_iterations = 24, .memory = 0});
  EXPECT_EQ(damped.converged, (std::vector<uint8_t>{1, 0, 0, 0}));
}

// A denoiser that answers one constant cannot produce any other image.
TEST(Abduction, ReportsWhatCannotBeSolved) {
  const Chain chain(linear(), 10);
  const double a = chain.alpha_bar(1);
  const EpsilonModel constant = [a](const Tensor& x, const Tensor&) {
    return combine(1 / std::sqrt(1 - a), x, -0.25 * std::sqrt(a / (1 - a)),
                   Tensor::full(x.shape(), 1));
  };
  const std::vector<float> values{0.25f, 0.25f, 0.25f, 0.25f, -0.5f, -0.5f, -0.5f, -0.5f};
  const Tensor x = Tensor::from(values, {2, 2, 2, 1});
  const Abduction u = abduct(constant, {}, chain, x, {.levels = 1, .tolerance = 0.01});
  EXPECT_EQ(u.converged, (std::vector<uint8_t>{1, 0}));
  EXPECT_NEAR(u.residual[1], 0.75 * 127.5, 0.1);
  for (const float v : u.latent.to_vector()) EXPECT_TRUE(std::isfinite(v));
  EXPECT_LT(u.evaluations[1], 100);  // it gives up before the limit
}

TEST(Abduction, AnswersThatAreNotFiniteStayWithTheirImage) {
  const Chain chain(linear(), 20);
  const EpsilonModel good = gaussian_epsilon();
  const Tensor x = images(3);
  const Tensor marked = x.clone();
  const auto with_nan_after = [&](int timestep) -> EpsilonModel {
    return [=](const Tensor& in, const Tensor& t) {
      return analytic::per_image(
          good(in, t), t,
          [n = 0, &in, timestep](std::span<const float> from, int at, std::span<float> to) mutable {
            const float first = in.to_vector()[static_cast<size_t>(n++) * 16];
            const bool spoil = at >= timestep && first > 50;
            for (size_t e = 0; e < to.size(); ++e)
              to[e] = spoil ? std::numeric_limits<float>::quiet_NaN() : from[e];
          });
    };
  };
  Tensor odd = x.clone();
  odd.slice(1, 2).copy_from(Tensor::full({1, 4, 4, 1}, 1000));
  for (const int timestep : {0, 100}) {
    const Abduction u = abduct(with_nan_after(timestep), {}, chain, odd, {.tolerance = 2e-3});
    EXPECT_EQ(u.converged, (std::vector<uint8_t>{1, 0, 1})) << timestep;
    for (const float v : u.latent.to_vector()) EXPECT_TRUE(std::isfinite(v));
    const Abduction alone = abduct(good, {}, chain, x.slice(2, 3), {.tolerance = 2e-3});
    EXPECT_EQ(alone.latent.to_vector(), u.latent.slice(2, 3).to_vector());
  }
}

// DDIM upwards in double: eps at the level that is left; its x0 moved into range, and eps found
// again from that, at every level but the image's own.
std::vector<double> thresholded_walk(const Chain& chain, std::vector<double> x,
                                     const ThresholdOptions& threshold) {
  const auto n = static_cast<double>(x.size());
  for (int level = 0; level < chain.levels(); ++level) {
    const double a = chain.alpha_bar(level), b = chain.alpha_bar(level + 1);
    const double asked = chain.alpha_bar(std::max(level, 1));
    std::vector<double> eps, x0, size;
    for (const double v : x) {
      eps.push_back(std::sqrt(1 - asked) * (v - std::sqrt(asked) * kMean) /
                    (asked * kDeviation * kDeviation + 1 - asked));
      x0.push_back((v - std::sqrt(1 - a) * eps.back()) / std::sqrt(a));
      size.push_back(std::abs(x0.back()));
    }
    std::sort(size.begin(), size.end());
    const double position = threshold.quantile * (n - 1);
    const auto below = static_cast<size_t>(position);
    const double quantile =
        size[below] + (position - std::floor(position)) * (size[below + 1] - size[below]);
    const double limit = threshold.kind == kernels::Threshold::clip ? 1 : std::max(1.0, quantile);
    for (size_t i = 0; i < x.size(); ++i) {
      if (level > 0) {
        x0[i] = std::clamp(x0[i], -limit, limit) / limit;
        eps[i] = (x[i] - std::sqrt(a) * x0[i]) / std::sqrt(1 - a);
      }
      x[i] = std::sqrt(b) * x0[i] + std::sqrt(1 - b) * eps[i];
    }
  }
  return x;
}

TEST(Abduction, ThresholdsActWhenAsked) {
  const Chain chain(linear(), 50);
  const Tensor x = images(2);
  const auto open =
      abduct(gaussian_epsilon(), {}, chain, x, {.method = AbductionMethod::ddim}).latent;
  for (const auto kind : {kernels::Threshold::clip, kernels::Threshold::dynamic}) {
    const ThresholdOptions threshold{kind, 0.9};
    const Abduction cut = abduct(gaussian_epsilon(), {}, chain, x,
                                 {.method = AbductionMethod::ddim, .threshold = threshold});
    for (int64_t n = 0; n < 2; ++n) {
      const std::vector<float> image = x.slice(n, n + 1).to_vector(),
                               got = cut.latent.slice(n, n + 1).to_vector();
      const std::vector<double> expected =
          thresholded_walk(chain, {image.begin(), image.end()}, threshold);
      for (size_t i = 0; i < got.size(); ++i)
        EXPECT_NEAR(got[i], expected[i], 2e-4) << static_cast<int>(kind) << " " << n << " " << i;
    }
    EXPECT_GT(worst_grey_levels(cut.latent, open), 10) << static_cast<int>(kind);
  }
}

// Images of a network that is told their component, or not: what is bound to an image stays with it
// as others leave the batch, one after the other.
TEST(Abduction, ConditionsStayWithTheirImages) {
  const Chain chain(linear(), 50);
  const Mixture world{{std::vector<double>(16, -0.7), std::vector<double>(16, 0.4)},
                      std::vector<double>(16, 0.05)};
  const auto network = conditional_network(world, linear());
  const std::vector<float> told{0, -1, 1, 0, -1, 1};
  const EpsilonModel epsilon = analytic::told(network, told);
  const Tensor x = images(6);
  const Abduction all = abduct(epsilon, {}, chain, x, {.tolerance = 2e-3});
  EXPECT_EQ(all.converged, std::vector<uint8_t>(6, 1));
  EXPECT_LT(worst_grey_levels(x, decode(epsilon, chain, all)), 0.05);
  EXPECT_GT(std::set<int>(all.evaluations.begin(), all.evaluations.end()).size(), 2u);
  for (size_t i = 0; i < told.size(); ++i) {
    const auto n = static_cast<int64_t>(i);
    const Tensor image = x.slice(n, n + 1);
    const Abduction one =
        abduct(analytic::told(network, {told[i]}), {}, chain, image, {.tolerance = 2e-3});
    EXPECT_EQ(one.latent.to_vector(), all.latent.slice(n, n + 1).to_vector()) << i;
    EXPECT_EQ(one.evaluations[0], all.evaluations[i]) << i;
    const Abduction other = abduct(analytic::told(network, {told[i] == 1 ? 0.f : 1.f}), {}, chain,
                                   image, {.tolerance = 2e-3});
    EXPECT_GT(worst_grey_levels(other.latent, one.latent), 10) << i;
  }
}

// What is inverted is the guided step, by gradient, condition or both.
TEST(Abduction, GuidedStepsAreInverted) {
  const Chain chain(linear(), 50);
  const Mixture world{{std::vector<double>(16, -0.7), std::vector<double>(16, 0.4)},
                      std::vector<double>(16, 0.05)};
  const auto network = conditional_network(world, linear());
  const EpsilonModel epsilon = analytic::told(network, {-1, -1, -1});
  const Guidance::Term gradient{posterior_gradient(world, linear(), {1, 0, 1}), 0.4},
      condition{analytic::told(network, {1, 0, 1}), 0.3};
  const Tensor x = images(3);
  const Tensor plain = abduct(epsilon, {}, chain, x, {.tolerance = 2e-3}).latent;
  for (const Guidance& guidance :
       {Guidance{.gradients = {gradient}}, Guidance{.conditions = {condition}},
        Guidance{.gradients = {gradient}, .conditions = {condition}}}) {
    const Abduction u = abduct(epsilon, guidance, chain, x, {.tolerance = 2e-3});
    EXPECT_EQ(u.converged, std::vector<uint8_t>(3, 1));
    EXPECT_LT(worst_grey_levels(x, sample(epsilon, guidance, chain, 0, u.latent, {})), 0.05);
    EXPECT_GT(worst_grey_levels(u.latent, plain), 5);
  }
}

TEST(Abduction, ObserversSeeWhatIsGoneOnFrom) {
  const Chain chain(linear(), 10);
  const Tensor x = images(3);
  const EpsilonModel epsilon = gaussian_epsilon();
  for (const AbductionMethod method : {AbductionMethod::ddim, AbductionMethod::fixed_point}) {
    std::vector<int> levels;
    std::vector<Tensor> seen;
    const auto keep = [&](int level, const Tensor& at) {
      levels.push_back(level);
      seen.push_back(at.clone());
    };
    const Abduction u =
        abduct(epsilon, {}, chain, x, {.method = method, .tolerance = 1e-4}, {}, keep);
    EXPECT_EQ(levels, (std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
    EXPECT_EQ(seen.back().to_vector(), u.latent.to_vector());
    if (method == AbductionMethod::ddim) {
      EXPECT_EQ(seen[0].to_vector(), transfer(chain, 0, 1, x, epsilon(x, 0)).to_vector());
    } else {
      // Each level's images lead to those of the level below.
      for (int level = 10; level > 1; --level) {
        const Tensor& at = seen[static_cast<size_t>(level) - 1];
        const Tensor below =
            transfer(chain, level, level - 1, at, epsilon(at, chain.timestep(level)));
        EXPECT_LT(worst_grey_levels(below, seen[static_cast<size_t>(level) - 2]), 1e-3) << level;
      }
    }
    levels.clear();
    seen.clear();
    const Tensor back = sample(epsilon, {}, chain, 0, u.latent, {}, {}, {}, keep);
    EXPECT_EQ(levels, (std::vector<int>{9, 8, 7, 6, 5, 4, 3, 2, 1, 0}));
    EXPECT_EQ(seen.back().to_vector(), back.to_vector());
  }
}

// The noise of the ancestral sampler: the image comes back, whatever else is in the batch.
TEST(Abduction, DdpmNoiseReturnsTheImage) {
  const Chain chain(linear(), 20);
  const Tensor x = images(3);
  for (const int levels : {0, 7}) {
    AbductionOptions options{.method = AbductionMethod::ddpm, .levels = levels, .seed = 3};
    options.index = {4, 9, 2};
    const Abduction u = abduct(gaussian_epsilon(), {}, chain, x, options);
    EXPECT_EQ(u.evaluations, std::vector<int>(3, levels == 0 ? 20 : levels));
    const Tensor back = predict(u, gaussian_epsilon(), {}, chain, levels);
    for (const double l1 : l1_grey_levels(back, x)) EXPECT_LT(l1, 1e-3);

    options.index = {9};
    const Abduction one = abduct(gaussian_epsilon(), {}, chain, x.slice(1, 2), options);
    EXPECT_EQ(one.latent.to_vector(), u.latent.slice(1, 2).to_vector());
    options.seed = 4;
    const Abduction other = abduct(gaussian_epsilon(), {}, chain, x.slice(1, 2), options);
    EXPECT_NE(other.latent.to_vector(), one.latent.to_vector());
    const Tensor too = predict(other, gaussian_epsilon(), {}, chain, levels);
    EXPECT_LT(l1_grey_levels(too, x.slice(1, 2))[0], 1e-3);
  }
}

// From x_0 = 0 and an eps of 0 the noise is known: z_l = (x_{l-1} - A x_l) / sigma.
TEST(Abduction, DdpmNoiseIsThatOfTheAncestralStep) {
  const Chain chain(linear(), 10);
  const auto zero = [](const Tensor& x, const Tensor&) {
    return Tensor::zeros(x.shape(), x.target());
  };
  const Tensor x = Tensor::zeros({1, 8, 8, 1});
  std::vector<Tensor> path{x};
  const Abduction u = abduct(EpsilonModel(zero), {}, chain, x, {.method = AbductionMethod::ddpm},
                             {}, [&](int, const Tensor& at) { path.push_back(at.clone()); });
  ASSERT_EQ(u.noise.size(), 10u);
  for (int level = 2; level <= 10; ++level) {
    const double a = chain.alpha_bar(level), b = chain.alpha_bar(level - 1);
    const double sigma = std::sqrt((1 - b) / (1 - a) * (1 - a / b));
    const auto here = path[static_cast<size_t>(level)].to_vector(),
               below = path[static_cast<size_t>(level - 1)].to_vector(),
               z = u.noise[static_cast<size_t>(level - 1)].to_vector();
    for (size_t i = 0; i < z.size(); ++i)
      EXPECT_NEAR(z[i], (below[i] - std::sqrt(b / a) * here[i]) / sigma, 1e-4);
  }
}

TEST(Abduction, Refuses) {
  const Chain chain(linear(), 10);
  const Tensor x = images(1);
  const auto run = [&](const AbductionOptions& o) { abduct(gaussian_epsilon(), {}, chain, x, o); };
  EXPECT_THROW(run({.levels = 11}), Error);
  EXPECT_THROW(run({.levels = -1}), Error);
  EXPECT_THROW(run({.tolerance = 0}), Error);
  EXPECT_THROW(run({.tolerance = std::nan("")}), Error);
  EXPECT_THROW(run({.max_iterations = 0}), Error);
  EXPECT_THROW(run({.memory = 17}), Error);
  EXPECT_THROW(run({.threshold = {kernels::Threshold::clip, 0.99}}), Error);
  EXPECT_THROW(abduct({}, {}, chain, x, {}), Error);
  EXPECT_THROW(abduct(gaussian_epsilon(), {}, chain, Tensor{}, {}), Error);
  EXPECT_THROW(parse_abduction_method("edict"), Error);
  EXPECT_EQ(parse_abduction_method("fixed-point"), AbductionMethod::fixed_point);
}

}  // namespace
}  // namespace diffscm
