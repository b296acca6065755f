// Analytic gradients of a differentiable operator against central differences along random
// directions.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "autograd/variable.h"

namespace diffscm::testing {

using Doubles = std::vector<double>;

inline Tensor random_tensor(Shape shape, uint32_t seed, float scale = 1, float offset = 0) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(numel(shape)));
  for (float& v : values) v = offset + scale * normal(generator);
  return Tensor::from(values, std::move(shape));
}

inline Doubles to_doubles(const Tensor& t) {
  if (!t) return {};
  const std::vector<float> values = t.to_vector();
  return {values.begin(), values.end()};
}

inline double dot(const Doubles& a, const Doubles& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// The operator under test, and what it computes in double. An empty Tensor is an absent input.
using Operator = std::function<Variable(const std::vector<Variable>&)>;
using Reference = std::function<Doubles(const std::vector<Doubles>&)>;

struct GradientCheck {
  Reference reference{};    // empty: the operator itself, in f32
  double step = 1;          // right for operators that are linear in each input
  double tolerance = 1e-4;  // relative to the gradient's length
};

inline std::vector<Tensor> gradients(const Operator& f, const std::vector<Tensor>& inputs,
                                     const std::vector<bool>& wanted, const Tensor& seed) {
  std::vector<Variable> variables;
  for (size_t i = 0; i < inputs.size(); ++i)
    variables.push_back(wanted[i] ? Variable::leaf(inputs[i]) : Variable(inputs[i]));
  backward(f(variables), seed);
  std::vector<Tensor> result(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i)
    if (wanted[i]) result[i] = variables[i].gradient();
  return result;
}

// L = sum(w * f(inputs)) for random w. Checks every input's gradient against central differences
// along three directions, and that it is the same when the other inputs are frozen.
inline void check_gradients(const Operator& f, const std::vector<Tensor>& inputs,
                            const GradientCheck& options = {}) {
  const Tensor value = f({inputs.begin(), inputs.end()}).value();
  const Tensor seed = random_tensor(value.shape(), 1000);
  const Doubles w = to_doubles(seed);
  std::vector<Doubles> at;
  std::vector<bool> all;
  for (const Tensor& t : inputs) {
    at.push_back(to_doubles(t));
    all.push_back(static_cast<bool>(t));
  }
  const auto loss = [&](const std::vector<Doubles>& point) {
    if (options.reference) return dot(w, options.reference(point));
    std::vector<Variable> variables;
    for (size_t i = 0; i < point.size(); ++i)
      variables.emplace_back(
          inputs[i] ? Tensor::from(std::vector<float>(point[i].begin(), point[i].end()),
                                   inputs[i].shape())
                    : Tensor());
    return dot(w, to_doubles(f(variables).value()));
  };

  const std::vector<Tensor> together = gradients(f, inputs, all, seed);
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i]) continue;
    SCOPED_TRACE("input " + std::to_string(i));
    ASSERT_TRUE(together[i]);
    ASSERT_EQ(together[i].shape(), inputs[i].shape());
    const Doubles g = to_doubles(together[i]);
    for (uint32_t direction = 0; direction < 3; ++direction) {
      const Doubles v =
          to_doubles(random_tensor(inputs[i].shape(), static_cast<uint32_t>(7 * i) + direction));
      std::vector<Doubles> above = at, below = at;
      for (size_t e = 0; e < v.size(); ++e) {
        above[i][e] += options.step * v[e];
        below[i][e] -= options.step * v[e];
      }
      const double numeric = (loss(above) - loss(below)) / (2 * options.step);
      EXPECT_NEAR(dot(g, v), numeric, options.tolerance * std::sqrt(dot(g, g)) + 1e-7);
    }
    std::vector<bool> alone(inputs.size(), false);
    alone[i] = true;
    const std::vector<Tensor> lonely = gradients(f, inputs, alone, seed);
    ASSERT_TRUE(lonely[i]) << "no gradient when the other inputs are frozen";
    const Doubles same = to_doubles(lonely[i]);
    for (size_t e = 0; e < g.size(); ++e)
      ASSERT_NEAR(same[e], g[e], 1e-5 * std::sqrt(dot(g, g))) << "when the others are frozen";
  }
}

}  // namespace diffscm::testing
