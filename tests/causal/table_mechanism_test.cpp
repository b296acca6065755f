#include "causal/mechanisms/table.h"

#include <cmath>

#include "tests/causal/scm_testing.h"

namespace diffscm::causal {
namespace {

using nlohmann::json;

const kernels::RandomKey kKey{.seed = 4, .purpose = kernels::Purpose::abduction};

Role role(json parameters) {
  Node node = category("n", {"a", "b", "c"}, {"p"}, {});
  node.mechanism.parameters = std::move(parameters);
  return {node, {binary("p", {}, json::array({{0.5, 0.5}}))}};
}

TEST(Table, the_posterior_of_the_gumbels_always_gives_the_state_back) {
  const std::vector<std::vector<double>> tables = {
      {0.2, 0.3, 0.5}, {1e-300, 1 - 1e-16, 1e-16}, {0, 1, 0}, {1 / 3., 1 / 3., 1 / 3.}, {1, 0, 0}};
  for (const auto& p : tables)
    for (size_t state = 0; state < 3; ++state) {
      if (p[state] == 0) continue;
      for (uint64_t row = 0; row < 20000; ++row) {
        RandomStream stream(kKey, row);
        std::vector<double> g(3);
        gumbel_posterior(p, state, stream, g);
        ASSERT_EQ(gumbel_max(p, g), state);
        for (const double x : g) ASSERT_TRUE(std::isfinite(x));
        const double u = inverse_cdf_posterior(p, state, stream);
        if (p[state] > 1e-15) {
          ASSERT_EQ(inverse_cdf(p, u), state);
        }
      }
    }
}

// Drawing a state and then its posterior is drawing Gumbels: their mean is Euler's constant and
// their variance pi^2 / 6.
TEST(Table, the_posterior_mixed_over_states_is_the_prior) {
  const std::vector<double> p = {0.2, 0.7, 0.1};
  constexpr int kDraws = 100000;
  std::vector<double> sum(3), squares(3);
  double product = 0;
  for (uint64_t row = 0; row < kDraws; ++row) {
    RandomStream stream(kKey, row);
    std::vector<double> g(3);
    gumbel_posterior(p, inverse_cdf(p, stream.uniform()), stream, g);
    for (size_t k = 0; k < 3; ++k) {
      sum[k] += g[k] / kDraws;
      squares[k] += g[k] * g[k] / kDraws;
    }
    product += g[0] * g[1] / kDraws;
  }
  for (size_t k = 0; k < 3; ++k) {
    EXPECT_NEAR(sum[k], 0.5772, 0.015);
    EXPECT_NEAR(squares[k] - sum[k] * sum[k], 1.6449, 0.04);
  }
  EXPECT_NEAR(product - sum[0] * sum[1], 0, 0.02);  // independent
}

TEST(Table, rows_are_named_and_complete) {
  const auto make = [](json rows) { return [rows] { make_table(role({{"rows", rows}})); }; };
  expect_error(make(json::array({{"yes", 0.2, 0.3, 0.5}})), "rows has no p(. | p=no)");
  expect_error(make(json::array({{"yes", 0.2, 0.3, 0.5}, {"yes", 0.2, 0.3, 0.5}})),
               "rows has p(. | p=yes) twice");
  Role root = role({{"rows", json::array()}});
  root.parents.clear();
  root.node.parents.clear();
  expect_error([&] { make_table(root); }, "rows has no p(.)");
  expect_error(make(json::array({{"yes", 0.2, 0.3, 0.4}})), "sum to 0.9, not to 1");
  expect_error(make(json::array({{"yes", -0.2, 0.7, 0.5}})), "-0.2 is not a probability");
  expect_error(make(json::array({{"yes", 0.5, 0.5}})), "1 of the parents' states and 3 prob");
  expect_error(make(json::array({{"maybe", 0.5, 0.5, 0}})), R"(p "maybe" is unknown: give "no")");
  expect_error(make(json::array({{1, 0.5, 0.5, 0}})), "1 is not the name of a state");
  expect_error(make(json::array({{"no", "x", 0.5, 0}})), R"("x" is not a probability)");
  expect_error(make(3), "rows must be a list");
  expect_error(
      [] {
        make_table(role({{"row", 1}}));
      },
      R"(no parameter "row": give "pseudocount", "counterfactual" or "rows")");
  expect_error([] { make_table(role({{"counterfactual", "copy"}})); }, "counterfactual \"copy\"");
  Role continuous = role({});
  continuous.parents[0] = number("p");
  expect_error([&] { make_table(continuous); }, R"(its parent "p" is continuous)");
  continuous.node = number("n");
  expect_error([&] { make_table(continuous); }, "the node is continuous");
}

TEST(Table, a_sum_off_by_little_is_made_one_and_an_exact_one_is_left_alone) {
  std::vector<double> p = {0.3, 0.7000003}, exact = {0.1, 0.2, 0.7};
  EXPECT_NEAR(normalise(p, "p"), 3e-7, 1e-12);
  EXPECT_EQ(p[0] + p[1], 1);
  normalise(exact, "p");
  EXPECT_EQ(exact, (std::vector<double>{0.1, 0.2, 0.7}));
}

TEST(Table, counts_and_keeps_what_it_counted) {
  const Role r = role(json::object());
  TableMechanism table(r);
  EXPECT_FALSE(table.is_fitted());
  expect_error([&] { table.probabilities(); }, "no probabilities yet");
  const Values parent({0, 0, 0, 1, 1}), value({0, 0, 1, 2, 2});
  const std::vector<const Values*> parents = {&parent};
  table.fit(value, parents, {});
  EXPECT_EQ(table.probabilities(), (std::vector<double>{2 / 3., 1 / 3., 0, 0, 0, 1}));
  const testing::TemporaryFolder folder;
  write_mechanism(folder / "n.safetensors", r, table);
  const auto again = read_mechanism(folder / "n.safetensors", r);
  EXPECT_EQ(again->state().values, table.state().values);
  Role other = r;
  other.parents[0].attribute.states = {"off", "on"};
  expect_error([&] { read_mechanism(folder / "n.safetensors", other); }, "made for another node");

  TableMechanism unseen(r);
  const Values only({0, 0, 0, 0, 0});
  const std::vector<const Values*> one = {&only};
  expect_error([&] { unseen.fit(value, one, {}); }, "no row has p=yes: give the table a pseudoc");
}

}  // namespace
}  // namespace diffscm::causal
