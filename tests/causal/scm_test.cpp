#include "causal/scm.h"

#include <cmath>

#include "causal/mechanisms/table.h"
#include "tests/causal/scm_testing.h"

namespace diffscm::causal {
namespace {

using nlohmann::json;

// smoke -> cancer of three stages -> test.
Graph chain(const char* counterfactual = "gumbel-max") {
  Node stage = category("stage", {"none", "early", "late"}, {"smoke"},
                        json::array({{"yes", 0.2, 0.3, 0.5}, {"no", 0.5, 0.3, 0.2}}));
  stage.mechanism.parameters["counterfactual"] = counterfactual;
  return Graph({binary("smoke", {}, json::array({{0.5, 0.5}})), stage,
                binary("test", {"stage"},
                       json::array({{"none", 0.9, 0.1}, {"early", 0.5, 0.5}, {"late", 0, 1}}))});
}

double mean(const Values& values, double state) {
  double hits = 0;
  for (const double v : values.numbers) hits += v == state;
  return hits / static_cast<double>(values.rows());
}

TEST(Scm, samples_follow_the_tables_and_do) {
  for (const char* kind : {"gumbel-max", "inverse-cdf"}) {
    const StructuralCausalModel scm(chain(kind));
    const Rows rows = first_rows(3, 40000);
    EXPECT_NEAR(mean(scm.sample(rows).value[1], 2), 0.35, 0.01);
    const Prediction p = scm.sample(rows, {{0, set_to(scm.graph()[0], 1)}});
    EXPECT_EQ(mean(p.value[0], 1), 1);
    EXPECT_NEAR(mean(p.natural[0], 1), 0.5, 0.01);
    EXPECT_NEAR(mean(p.value[1], 2), 0.5, 0.01);
    EXPECT_NEAR(mean(p.value[2], 1), 0.2 * 0.1 + 0.3 * 0.5 + 0.5, 0.01);
  }
}

TEST(Scm, a_row_does_not_depend_on_its_batch) {
  const StructuralCausalModel scm(chain());
  const Rows all = first_rows(1, 10);
  const NodeValues together = scm.draw_noise(all);
  const NodeValues alone = scm.draw_noise({1, {7}});
  for (size_t i = 0; i < 3; ++i)
    EXPECT_EQ(together[i].select(std::vector<int64_t>{7}).numbers, alone[i].numbers);
}

TEST(Scm, abduction_reproduces_every_row) {
  for (const char* kind : {"gumbel-max", "inverse-cdf"}) {
    const StructuralCausalModel scm(chain(kind));
    const Rows rows = first_rows(5, 5000);
    const NodeValues factual = scm.sample(rows).value;
    const NodeValues again = scm.predict(scm.abduct(factual, rows), {}).value;
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(again[i].numbers, factual[i].numbers);
  }
}

// From (.2, .3, .5) to (.5, .3, .2): reference figures by 10^6 draws for Gumbel-max, exact for the
// inverse CDF.
TEST(Scm, counterfactuals_of_three_states_are_those_of_their_noise) {
  const Rows rows = first_rows(11, 60000);
  const auto moved = [&](const char* kind, double factual_state, double state) {
    const StructuralCausalModel scm(chain(kind));
    const auto n = static_cast<size_t>(std::ssize(rows.index));
    const NodeValues factual = {Values(std::vector<double>(n, 0)),
                                Values(std::vector<double>(n, factual_state)),
                                Values(std::vector<double>(n, 1))};
    return mean(
        scm.counterfactual(factual, {{0, set_to(scm.graph()[0], 1)}}, rows).counterfactual[1],
        state);
  };
  EXPECT_NEAR(moved("gumbel-max", 0, 0), 0.398, 0.01);
  EXPECT_NEAR(moved("gumbel-max", 0, 1), 0.140, 0.01);
  EXPECT_NEAR(moved("gumbel-max", 1, 1), 0.770, 0.01);
  EXPECT_EQ(moved("gumbel-max", 2, 2), 1);
  EXPECT_NEAR(moved("inverse-cdf", 0, 0), 0.4, 0.01);
  EXPECT_NEAR(moved("inverse-cdf", 0, 1), 0.6, 0.01);
  EXPECT_EQ(moved("inverse-cdf", 1, 2), 1);
}

TEST(Scm, do_of_the_factual_value_changes_nothing) {
  const StructuralCausalModel scm(chain());
  const Rows rows = first_rows(2, 500);
  const NodeValues factual = scm.sample(rows).value;
  Intervention keep;
  for (size_t i = 0; i < 2; ++i)
    keep[i] = {[&factual, i](const Values&) { return factual[i]; }, "factual"};
  const CounterfactualRows result = scm.counterfactual(factual, keep, rows);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(result.counterfactual[i].numbers, factual[i].numbers);
}

// An image whose pixel is its noise plus its parent; counts what it abducts.
class Pixel : public Mechanism {
 public:
  Abduction abduction() const override { return Abduction::exact; }
  Values abduct(const Values& value, Parents parents, const RowRandom&) const override {
    abducted += value.rows();
    return moved(value, parents, -1);
  }
  Values predict(const Values& noise, Parents parents) const override {
    return moved(noise, parents, 1);
  }
  Values draw_noise(const RowRandom&) const override { return {}; }
  void fit(const Values&, Parents, const FitOptions&) override {}
  bool is_fitted() const override { return true; }
  MechanismState state() const override { return {}; }
  void load(const MechanismState&) override {}
  std::string description() const override { return "pixel"; }

  mutable int64_t abducted = 0;

 private:
  static Values moved(const Values& from, Parents parents, float sign) {
    Values to(from.images.clone());
    for (size_t row = 0; row < parents[0]->numbers.size(); ++row)
      to.images.mutable_data()[row] += sign * static_cast<float>(parents[0]->numbers[row]);
    return to;
  }
};

TEST(Scm, images_are_abducted_in_the_rows_that_do_reaches) {
  Node image = number("image", {"smoke"});
  image.kind = NodeKind::image;
  const Graph graph({binary("smoke", {}, json::array({{0.5, 0.5}})),
                     binary("other", {}, json::array({{0.5, 0.5}})), image});
  auto pixel = std::make_unique<Pixel>();
  const Pixel& counts = *pixel;
  std::vector<std::unique_ptr<Mechanism>> mechanisms;
  for (size_t i = 0; i < 2; ++i) mechanisms.push_back(make_mechanism(role_of(graph, i)));
  mechanisms.push_back(std::move(pixel));
  const StructuralCausalModel scm(graph, std::move(mechanisms));
  const NodeValues factual{Values(std::vector<double>{0, 1, 0, 1}),
                           Values(std::vector<double>{0, 0, 1, 1}),
                           Values(Tensor::from(std::vector<float>{1, 2, 3, 4}, {4, 1, 1, 1}))};
  const auto asked = [&](std::vector<Intervention> questions, int64_t abducted) {
    const int64_t before = counts.abducted;
    const NodeValues noise = scm.abduct(factual, first_rows(0, 4), questions),
                     all = scm.abduct(factual, first_rows(0, 4));
    EXPECT_EQ(counts.abducted - before, abducted + 4);
    for (const Intervention& question : questions)
      EXPECT_EQ(scm.counterfactual(factual, noise, question).value[2].images.to_vector(),
                scm.counterfactual(factual, all, question).value[2].images.to_vector());
    return noise;
  };
  const Intervention yes{{0, set_to(graph[0], 1)}}, no{{0, set_to(graph[0], 0)}},
      other{{1, set_to(graph[1], 0)}};
  EXPECT_EQ(asked({yes}, 2)[2].images.to_vector(), (std::vector<float>{1, 0, 3, 0}));
  asked({yes, no}, 4);
  asked({yes, other}, 2);
  EXPECT_EQ(asked({other}, 0)[2].rows(), 0);
}

TEST(Scm, do_is_a_function_of_the_natural_value_under_all_of_do) {
  const StructuralCausalModel scm(chain());
  const Rows rows = first_rows(2, 2000);
  const NodeValues factual = scm.sample(rows).value;
  // The stage is cured by one: of what it becomes under do(smoke), not of what it was.
  const Setting better{[](const Values& natural) {
                         Values set = natural;
                         for (double& v : set.numbers) v = std::max(0.0, v - 1);
                         return set;
                       },
                       "natural - 1"};
  const CounterfactualRows r =
      scm.counterfactual(factual, {{0, set_to(scm.graph()[0], 0)}, {1, better}}, rows);
  int changed = 0;
  for (size_t row = 0; row < 2000; ++row) {
    EXPECT_EQ(r.counterfactual[1].numbers[row], std::max(0.0, r.natural[1].numbers[row] - 1));
    changed += r.natural[1].numbers[row] != factual[1].numbers[row];
    if (factual[0].numbers[row] == 0) {
      EXPECT_EQ(r.natural[1].numbers[row], factual[1].numbers[row]);
    }
  }
  EXPECT_GT(changed, 100);
}

TEST(Scm, refuses_values_that_a_node_cannot_have) {
  const StructuralCausalModel scm(chain());
  const Rows one = first_rows(0, 1);
  expect_error([&] { set_to(scm.graph()[0], 2); }, "not one of its 2 states");
  const Setting high{[](const Values&) { return Values(std::vector<double>{3}); }, "natural + 3"};
  expect_error([&] { scm.sample(one, {{1, high}}); }, "do(stage=natural + 3): stage 3 is not");
  const auto row = [](double a, double b, double c) {
    return NodeValues{Values(std::vector{a}), Values(std::vector{b}), Values(std::vector{c})};
  };
  expect_error([&] { scm.abduct(row(0, NAN, 0), one); }, R"(node "stage" has no value in row 0)");
  expect_error([&] { scm.abduct(row(0, 2, 0), one); },
               "p(test=no | stage=late) = 0: what was observed cannot happen");
  EXPECT_EQ(scm.log_density(row(0, 2, 0))[0], -INFINITY);
  EXPECT_NEAR(scm.log_density(row(0, 1, 1))[0], std::log(0.5 * 0.3 * 0.5), 1e-12);
}

}  // namespace
}  // namespace diffscm::causal
