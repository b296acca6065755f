#include "diffusion/guidance.h"

#include <gtest/gtest.h>

#include <limits>

#include "diffusion/sampler.h"
#include "tests/diffusion/analytic.h"

namespace diffscm {
namespace {

using analytic::Mixture;

const NoiseSchedule& schedule() {
  static const NoiseSchedule linear(ScheduleKind::linear, 1000);
  return linear;
}
const Mixture& world() {
  static const Mixture three{
      {std::vector<double>(16, -0.7), std::vector<double>(16, 0.1), std::vector<double>(16, 0.6)},
      std::vector<double>(16, 0.05)};
  return three;
}
constexpr int kTimestep = 300;
double alpha_bar() {
  return schedule().alpha_bar(kTimestep);
}

void expect_near(const Tensor& a, const Tensor& b, float tolerance) {
  const std::vector<float> x = a.to_vector(), y = b.to_vector();
  ASSERT_EQ(x.size(), y.size());
  for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], y[i], tolerance) << i;
}

// A conditional network that counts how often it is asked and about how many images.
struct Network {
  int calls = 0;
  int64_t images = 0;
  EpsilonModel::Network network = std::make_shared<const EpsilonModel::Body>(
      [this, told = conditional_network(world(), schedule())](const Tensor& x, const Tensor& t,
                                                              const EpsilonModel::Bound& bound) {
        ++calls;
        images += x.dim(0);
        return (*told)(x, t, bound);
      });
  EpsilonModel told(const std::vector<float>& components) const {
    return analytic::told(network, components);
  }
};

const Tensor& noisy_images() {
  static const Tensor x = initial_noise({3, 4, 4, 1}, {}, 5);
  return x;
}

// By Bayes' rule a gradient and a condition say the same, at every scale and of the same sign.
TEST(Guidance, AGradientAndAConditionAgree) {
  Network network;
  const EpsilonModel unconditional = network.told({-1, -1, -1});
  const Guidance::Term gradient{posterior_gradient(world(), schedule(), {2, 0, 1})},
      condition{network.told({2, 0, 1})};
  for (const double s : {0.5, 1.0, 2.0}) {
    const Denoiser by_gradient(unconditional, Guidance{.gradients = {gradient}}.scaled(s)),
        by_condition(unconditional, Guidance{.conditions = {condition}}.scaled(s));
    expect_near(by_gradient(noisy_images(), kTimestep).direction(alpha_bar()),
                by_condition(noisy_images(), kTimestep).direction(alpha_bar()), 2e-5f);
  }
  // s = 1 is the conditional network, and it alone is asked.
  const Prediction at_one =
      Denoiser(unconditional, {.conditions = {condition}})(noisy_images(), kTimestep);
  EXPECT_EQ(at_one.eps.to_vector(), condition.f(noisy_images(), kTimestep).to_vector());
  EXPECT_FALSE(at_one.base);
  // It pulls towards the component: from the middle one, up to the third and down to the first.
  const Tensor middle =
      Tensor::full({3, 4, 4, 1}, static_cast<float>(0.1 * std::sqrt(alpha_bar())));
  const std::vector<float> pull = gradient.f(middle, kTimestep).to_vector();
  EXPECT_GT(pull[0], 0.01f);
  EXPECT_LT(pull[16], -0.01f);
}

// Terms add up: eps_u + sum s_k (eps_k - eps_u) - sqrt(1 - alpha_bar) sum s_j g_j.
TEST(Guidance, TermsOfSeveralParentsAddUp) {
  Network network;
  const EpsilonModel unconditional = network.told({-1, -1, -1}), first = network.told({2, 0, 1}),
                     second = network.told({1, 1, 0});
  const GuidanceGradient third = posterior_gradient(world(), schedule(), {0, 2, 2}),
                         fourth = posterior_gradient(world(), schedule(), {1, 0, 0});
  const auto value = [&](const TimestepFunction& f, size_t i) {
    return double{f(noisy_images(), kTimestep).to_vector()[i]};
  };
  for (const bool several : {false, true}) {
    Guidance guidance{.gradients = {{third, 0.7}}, .conditions = {{first, 1.5}}};
    if (several) {
      guidance.gradients.push_back({fourth, 0.2});
      guidance.conditions.push_back({second, 0.4});
    }
    const Prediction p = Denoiser(unconditional, guidance)(noisy_images(), kTimestep);
    const std::vector<float> direction = p.direction(alpha_bar()).to_vector();
    for (size_t i = 0; i < direction.size(); i += 7) {
      const double u = value(unconditional, i);
      double expected = u + 1.5 * (value(first, i) - u), pull = 0.7 * value(third, i);
      if (several) {
        expected += 0.4 * (value(second, i) - u);
        pull += 0.2 * value(fourth, i);
      }
      EXPECT_NEAR(direction[i], expected - std::sqrt(1 - alpha_bar()) * pull, 2e-5) << i;
    }
    // The fused step takes that direction.
    const double to = schedule().alpha_bar(200);
    Tensor out(noisy_images().shape());
    take({.from = alpha_bar(), .to = to}, p, noisy_images(), out);
    const std::vector<float> x = noisy_images().to_vector(), got = out.to_vector();
    for (size_t i = 0; i < got.size(); ++i) {
      const double x0 = (x[i] - std::sqrt(1 - alpha_bar()) * direction[i]) / std::sqrt(alpha_bar());
      EXPECT_NEAR(got[i], std::sqrt(to) * x0 + std::sqrt(1 - to) * direction[i], 2e-5) << i;
    }
  }
}

TEST(Guidance, ConditionsOfOneNetworkAreOneEvaluation) {
  Network network, other;
  const EpsilonModel unconditional = network.told({-1, -1, -1});
  const auto asked = [&](const Guidance& guidance, std::span<const int64_t> rows) {
    network.calls = other.calls = 0;
    network.images = 0;
    const Denoiser denoiser = Denoiser(unconditional, guidance).of(rows);
    const Tensor x = analytic::per_image(
        Tensor::zeros({static_cast<int64_t>(rows.size()), 4, 4, 1}),
        [&, n = size_t{0}](std::span<const float>, std::span<float> out) mutable {
          const auto all = noisy_images().to_vector();
          std::copy_n(all.begin() + rows[n++] * 16, 16, out.begin());
        });
    return denoiser(x, kTimestep).direction(alpha_bar());
  };
  const std::vector<int64_t> all{0, 1, 2}, some{2, 0};
  const Guidance joined{.conditions = {{network.told({2, 0, 1}), 2}, {network.told({1, 1, 0}), 3}}},
      apart{.conditions = {{other.told({2, 0, 1}), 2}, {other.told({1, 1, 0}), 3}}};
  const Tensor once = asked(joined, all);
  EXPECT_EQ(network.calls, 1);
  EXPECT_EQ(network.images, 9);
  EXPECT_EQ(once.to_vector(), asked(apart, all).to_vector());
  EXPECT_EQ(network.calls, 1);
  EXPECT_EQ(other.calls, 2);
  // The conditions of images that stay are those they came with.
  const std::vector<float> two = asked(joined, some).to_vector();
  EXPECT_EQ(network.images, 6);
  EXPECT_EQ(std::vector<float>(two.begin(), two.begin() + 16), once.slice(2, 3).to_vector());
  EXPECT_EQ(std::vector<float>(two.begin() + 16, two.end()), once.slice(0, 1).to_vector());
}

TEST(Guidance, DynamicThresholdsSeeTheWeightedEps) {
  Network network;
  const EpsilonModel unconditional = network.told({-1, -1, -1}), first = network.told({2, 2, 2});
  const Step step{.from = alpha_bar(),
                  .to = schedule().alpha_bar(200),
                  .threshold = {kernels::Threshold::dynamic, 0.8}};
  const Prediction p =
      Denoiser(unconditional, {.conditions = {{first, 4}}})(noisy_images(), kTimestep);
  Tensor fused(noisy_images().shape()), composed(noisy_images().shape());
  take(step, p, noisy_images(), fused);
  take(step, {.eps = p.direction(alpha_bar())}, noisy_images(), composed);
  expect_near(fused, composed, 1e-6f);
}

TEST(Guidance, Refuses) {
  Network network;
  const EpsilonModel epsilon = network.told({-1, -1, -1});
  EXPECT_THROW(Denoiser({}, {}), Error);
  EXPECT_THROW(Denoiser(epsilon, {.gradients = {{}}}), Error);
  EXPECT_THROW(Denoiser(epsilon, {.conditions = {{epsilon, -1}}}), Error);
  EXPECT_THROW(
      Denoiser(epsilon, {.conditions = {{epsilon, std::numeric_limits<double>::quiet_NaN()}}}),
      Error);
  // Bound to three images, asked about two.
  EXPECT_THROW(epsilon(noisy_images().slice(0, 2), kTimestep), Error);
  EXPECT_THROW(epsilon(noisy_images(), Tensor::zeros({2})), Error);
}

}  // namespace
}  // namespace diffscm
