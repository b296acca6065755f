#include "causal/mechanisms/diffusion.h"

#include <cmath>
#include <numeric>

#include "tests/causal/scm_testing.h"

namespace diffscm::causal {
namespace {

double normal_cdf(double z) {
  return 0.5 * std::erfc(-z / std::sqrt(2.0));
}

// The flow of data 0.3 N(-1, 0.25) + 0.7 N(1, 0.04), in closed form.
struct TwoModes {
  static constexpr double kWeight[] = {0.3, 0.7}, kMean[] = {-1, 1}, kVariance[] = {0.25, 0.04};

  static double v(double x, double theta) {
    const double c = std::cos(theta), s = std::sin(theta);
    if (s < 1e-9) return 0;  // where it is 0 / 0
    double total = 0, clean = 0;
    for (int k = 0; k < 2; ++k) {
      const double variance = c * c * kVariance[k] + s * s, off = x - c * kMean[k];
      const double p = kWeight[k] * std::exp(-off * off / (2 * variance)) / std::sqrt(variance);
      total += p;
      clean += p * (kMean[k] + c * kVariance[k] / variance * off);
    }
    clean /= total;
    return c * (x - c * clean) / s - s * clean;
  }
  static Velocity velocity() {
    return [](double theta, std::span<const double> x, std::span<double> out,
              std::span<double> slope) {
      const double h = 1e-5;
      for (size_t i = 0; i < x.size(); ++i) {
        out[i] = v(x[i], theta);
        if (!slope.empty()) slope[i] = (v(x[i] + h, theta) - v(x[i] - h, theta)) / (2 * h);
      }
    };
  }
  static double cdf(double x) {
    double p = 0;
    for (int k = 0; k < 2; ++k)
      p += kWeight[k] * normal_cdf((x - kMean[k]) / std::sqrt(kVariance[k]));
    return p;
  }
  static double density(double x) {
    double p = 0;
    for (int k = 0; k < 2; ++k)
      p += kWeight[k] * std::exp(-std::pow(x - kMean[k], 2) / (2 * kVariance[k])) /
           std::sqrt(2 * M_PI * kVariance[k]);
    return p;
  }
};

TEST(ProbabilityFlow, CouplesQuantilesAndKnowsTheDensity) {
  const std::vector<double> data{-2, -1.2, -0.5, 0.3, 0.8, 1, 1.3};
  std::vector<double> x = data, log_p(data.size(), 0.0);
  integrate_flow(TwoModes::velocity(), 0, kPureNoise, 200, x, log_p);
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_NEAR(normal_cdf(x[i]), TwoModes::cdf(data[i]), 1e-5) << data[i];
    const double p = std::exp(log_p[i] - x[i] * x[i] / 2) / std::sqrt(2 * M_PI);
    EXPECT_NEAR(p, TwoModes::density(data[i]), 1e-4) << data[i];
  }
  integrate_flow(TwoModes::velocity(), kPureNoise, 0, 200, x);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], data[i], 1e-6);
}

TEST(ProbabilityFlow, ErrorIsOfFourthOrder) {
  const auto error = [](int steps) {
    std::vector<double> x{0.3};
    integrate_flow(TwoModes::velocity(), 0, kPureNoise, steps, x);
    return std::abs(normal_cdf(x[0]) - TwoModes::cdf(0.3));
  };
  EXPECT_LT(error(80), error(40) / 8);
}

// y = x + exp(u / 2), u ~ N(0, 1): monotone in u, so that the noise of an exact diffusion is u.
struct Skewed {
  Values x, y, u;
  Skewed() {
    for (uint64_t i = 0; i < 3000; ++i) {
      RandomStream r({.seed = 3, .purpose = kernels::Purpose::exogenous}, i);
      x.numbers.push_back(r.normal());
      u.numbers.push_back(r.normal());
      y.numbers.push_back(x.numbers[i] + std::exp(u.numbers[i] / 2));
    }
  }
};

std::unique_ptr<Mechanism> fitted(const Skewed& world, nlohmann::json parameters) {
  Node node = number("y", {"x"});
  parameters.update({{"steps", 1000}, {"hidden", {32, 32}}});
  node.mechanism = {"diffusion", parameters};
  auto mechanism = make_mechanism({node, {number("x")}});
  const std::vector<const Values*> parents{&world.x};
  mechanism->fit(world.y, parents, {.seed = 1});
  return mechanism;
}

double rms(const Values& a, const Values& b) {
  double sum = 0;
  for (size_t i = 0; i < a.numbers.size(); ++i) sum += std::pow(a.numbers[i] - b.numbers[i], 2);
  return std::sqrt(sum / static_cast<double>(a.numbers.size()));
}

TEST(Diffusion, TheNoiseIsTheQuantileOfTheValue) {
  const Skewed world;
  const std::vector<const Values*> parents{&world.x};
  for (const nlohmann::json& parameters :
       {nlohmann::json{{"form", "conditional"}},
        nlohmann::json{{"form", "conditional"}, {"location_scale", true}},
        nlohmann::json{{"members", 2}}, nlohmann::json{{"form", "anti-causal"}}}) {
    const auto mechanism = fitted(world, parameters);
    const Values noise = mechanism->abduct(world.y, parents, {});
    EXPECT_LT(rms(noise, world.u), 0.25) << parameters;
    // Had x been 1 more, y would have been 1 more.
    Values more = world.x;
    for (double& v : more.numbers) v += 1;
    const std::vector<const Values*> changed{&more};
    Values truth = world.y;
    for (double& v : truth.numbers) v += 1;
    EXPECT_LT(rms(mechanism->predict(noise, changed), truth), 0.4) << parameters;
  }
}

TEST(Diffusion, TheDensityIsOneAndTheRightOne) {
  const Skewed world;
  const auto mechanism = fitted(world, {});
  Values y, x;
  const double step = 0.02;
  for (double v = -6; v < 14; v += step) {
    y.numbers.push_back(v);
    x.numbers.push_back(0.5);
  }
  const std::vector<const Values*> parents{&x};
  const std::vector<double> log_p = mechanism->log_density(y, parents);
  double mass = 0, distance = 0;
  for (size_t i = 0; i < log_p.size(); ++i) {
    const double e = y.numbers[i] - 0.5, z = 2 * std::log(std::max(e, 1e-300));
    const double truth = e > 0 ? std::exp(-z * z / 2) / std::sqrt(2 * M_PI) * 2 / e : 0;
    mass += std::exp(log_p[i]) * step;
    distance += std::abs(std::exp(log_p[i]) - truth) * step / 2;
  }
  EXPECT_NEAR(mass, 1, 2e-3);
  EXPECT_LT(distance, 0.12);  // total variation
}

TEST(Diffusion, UnconditionalEncodingForgetsTheParents) {
  const Skewed world;
  const auto mechanism = fitted(world, {{"form", "anti-causal"}, {"encode", "unconditional"}});
  const std::vector<const Values*> parents{&world.x};
  const Values noise = mechanism->abduct(world.y, parents, {});
  Values other = world.x;
  for (double& v : other.numbers) v -= 3;
  const std::vector<const Values*> changed{&other};
  EXPECT_EQ(mechanism->abduct(world.y, changed, {}).numbers, noise.numbers);
  EXPECT_FALSE(mechanism->has_log_density());
}

// y = a + b + noise: given y, a says much about b. Predictors that know nothing of each other
// double what they say.
TEST(Diffusion, ChainedPredictorsKnowOfEachOther) {
  Values a, b, y;
  for (uint64_t i = 0; i < 1000; ++i) {
    RandomStream r({.seed = 6, .purpose = kernels::Purpose::exogenous}, i);
    a.numbers.push_back(r.normal());
    b.numbers.push_back(r.normal());
    y.numbers.push_back(a.numbers[i] + b.numbers[i] + 0.2 * r.normal());
  }
  const std::vector<const Values*> parents{&a, &b};
  Values more = a, truth = y;
  for (double& v : more.numbers) v += 0.5;
  for (double& v : truth.numbers) v += 0.5;
  const std::vector<const Values*> changed{&more, &b};
  const auto error = [&](bool chained) {
    Node node = number("y", {"a", "b"});
    node.mechanism = {
        "diffusion",
        {{"form", "anti-causal"}, {"chained", chained}, {"steps", 500}, {"hidden", {32, 32}}}};
    const auto mechanism = make_mechanism({node, {number("a"), number("b")}});
    mechanism->fit(y, parents, {.seed = 1});
    return rms(mechanism->predict(mechanism->abduct(y, parents, {}), changed), truth);
  };
  const double chained = error(true);
  EXPECT_LT(chained, 0.15);
  EXPECT_LT(1.3 * chained, error(false));
}

TEST(Diffusion, RefusesWhatItCannotUse) {
  const auto make = [](nlohmann::json parameters) {
    return [parameters] {
      Node node = number("y", {"x"});
      node.mechanism = {"diffusion", parameters};
      make_mechanism({node, {number("x")}});
    };
  };
  expect_error(make({{"form", "causal"}}), "form \"causal\"");
  expect_error(make({{"flow_steps", 0}}), "flow_steps is 0");
  expect_error(make({{"members", 0}}), "members is 0");
  expect_error(make({{"score_share", 1.5}}), "score_share is 1.5");
  expect_error(make({{"form", "anti-causal"}, {"scale", -1}}), "scale is -1");
  expect_error(make({{"encode", "factual"}}), "no parameter \"encode\"");
}

}  // namespace
}  // namespace diffscm::causal
