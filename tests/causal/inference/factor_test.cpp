#include "causal/inference/factor.h"

#include <cmath>
#include <numeric>

#include "tests/engine/io_testing.h"

namespace diffscm::causal {
namespace {

using testing::expect_error;

// Products of random tables over random sets of variables, summed by brute force and by
// elimination.
TEST(Factor, elimination_is_the_sum_of_the_product) {
  uint32_t random = 12345;
  const auto draw = [&](size_t n) {
    random = random * 1664525 + 1013904223;
    return static_cast<size_t>(random >> 8) % n;
  };
  for (int trial = 0; trial < 40; ++trial) {
    const size_t variables = 3 + draw(4);
    States states;
    for (size_t v = 0; v < variables; ++v) states.push_back(1 + draw(3));
    std::vector<Factor> factors;
    for (size_t f = 0; f < 2 + draw(5); ++f) {
      std::vector<size_t> slots;
      for (size_t v = 0; v < variables; ++v)
        if (draw(3) == 0) slots.push_back(v);
      if (slots.empty()) slots.push_back(0);
      factors.push_back(make_factor(
          slots, states, {}, [&](auto) { return static_cast<double>(1 + draw(1000)) / 100; }));
    }
    std::vector<size_t> all(variables);
    std::iota(all.begin(), all.end(), size_t{0});
    const std::vector<size_t> keep = {all.back(), all.front()};
    std::vector<double> expected(states[keep[0]] * states[keep[1]]);
    make_factor(all, states, {}, [&](std::span<const size_t> s) {
      double product = 1;
      for (const Factor& factor : factors) {
        size_t at = 0;
        for (const size_t v : factor.variables) at = at * states[v] + s[v];
        product *= factor.values[at];
      }
      expected[s[keep[0]] * states[keep[1]] + s[keep[1]]] += product;
      return 0.0;
    });
    const Sum sum = eliminate(factors, states, keep);
    for (size_t i = 0; i < expected.size(); ++i) {
      // Relative to the first: variables that no factor has are not summed over.
      EXPECT_NEAR(
          sum.values[i] * std::exp(sum.log_scale) / (sum.values[0] * std::exp(sum.log_scale)),
          expected[i] / expected[0], 1e-9);
    }
  }
}

TEST(Factor, evidence_fixes_a_variable_and_slots_may_share_one) {
  const States states = {2, 3};
  const std::vector<size_t> slots = {1, 0, 1};
  const Factor factor = make_factor(slots, states, {{0, 1}}, [](std::span<const size_t> s) {
    EXPECT_EQ(s[0], s[2]);
    return static_cast<double>(10 * s[1] + s[0]);
  });
  EXPECT_EQ(factor.variables, (std::vector<size_t>{1}));
  EXPECT_EQ(factor.values, (std::vector<double>{10, 11, 12}));
}

TEST(Factor, small_numbers_do_not_vanish_and_large_tables_are_refused) {
  const States states(400, 2);
  std::vector<Factor> factors;
  for (size_t v = 0; v < 400; ++v) factors.push_back({{v}, {1e-300, 1e-300}});
  const Sum sum = eliminate(factors, states, {});
  EXPECT_NEAR(std::log(sum.values[0]) + sum.log_scale, 400 * std::log(2e-300), 1e-6);
  std::vector<Factor> dense;
  for (size_t a = 0; a < 40; ++a)
    for (size_t b = 0; b < a; ++b) dense.push_back({{a, b}, {1, 1, 1, 1}});
  expect_error([&] { eliminate(dense, States(40, 2), {}); }, "ask for samples");
}

}  // namespace
}  // namespace diffscm::causal
