#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "causal/mechanisms/categorical_network.h"
#include "causal/mechanisms/flow_head.h"
#include "causal/mechanisms/mixture_head.h"

namespace diffscm::causal {
namespace {

std::vector<float> outputs_of(int n) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> outputs(static_cast<size_t>(n));
  for (float& v : outputs) v = normal(random);
  return outputs;
}

// f(z, outputs, gradient): the gradient is that of differences.
template <class F>
void check_gradient(int outputs, double z, F&& f) {
  const std::vector<float> at = outputs_of(outputs);
  std::vector<float> gradient(at.size());
  f(z, at, gradient);
  for (size_t i = 0; i < at.size(); ++i) {
    std::vector<float> up = at, down = at;
    up[i] += 1e-3f;
    down[i] -= 1e-3f;
    const double h = double{up[i]} - down[i];
    EXPECT_NEAR(gradient[i], (f(z, up, {}) - f(z, down, {})) / h,
                2e-3 * (1 + std::abs(gradient[i])))
        << "output " << i << " at " << z;
  }
}

template <class F>
double mass(int outputs, F&& f) {
  double sum = 0;
  const std::vector<float> at = outputs_of(outputs);
  for (double z = -40; z < 40; z += 0.005) sum += 0.005 * std::exp(-f(z, at));
  return sum;
}

TEST(FlowHead, IsADensityWithItsGradient) {
  for (const FlowHead& head : {FlowHead{}, FlowHead{SplineShape{}}}) {
    const auto loss = [&](double z, std::span<const float> o, std::span<float> g = {}) {
      return head.loss(z, o, g);
    };
    for (const double z : {-30.0, -0.4, 0.1, 0.9, 30.0}) check_gradient(head.outputs(), z, loss);
    EXPECT_NEAR(mass(head.outputs(), loss), 1, 1e-3);
    const std::vector<float> o = outputs_of(head.outputs());
    for (const double z : {-3.0, 0.2, 5.0})
      EXPECT_NEAR(head.to_value(head.to_noise(z, o), o), z, 1e-12);
  }
}

TEST(MixtureHead, IsADensityWithItsGradient) {
  for (const size_t components : {size_t{1}, size_t{5}}) {
    const MixtureHead head{components};
    const auto loss = [&](double z, std::span<const float> o, std::span<float> g = {}) {
      return head.loss(z, o, g);
    };
    for (const double z : {-4.0, 0.1, 3.0}) check_gradient(head.outputs(), z, loss);
    EXPECT_NEAR(mass(head.outputs(), loss), 1, 1e-3);
  }
}

TEST(CrossEntropy, HasItsGradient) {
  check_gradient(4, 2, [](double state, std::span<const float> o, std::span<float> g) {
    return cross_entropy(static_cast<size_t>(state), o, g);
  });
  const std::vector<float> certain{200, 0};
  EXPECT_NEAR(cross_entropy(1, certain, {}), 200, 1e-6);
}

}  // namespace
}  // namespace diffscm::causal
