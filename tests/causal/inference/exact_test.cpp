#include "causal/inference/exact.h"

#include <cmath>

#include "causal/formats/graph_file.h"
#include "causal/inference/pair_probability.h"
#include "causal/mechanisms/table.h"
#include "causal/model_folder.h"
#include "tests/causal/scm_testing.h"

namespace diffscm::causal {
namespace {

using nlohmann::json;
constexpr double kTolerance = 1e-9;

class Model {
 public:
  explicit Model(const char* file)
      : model_(load_model(std::filesystem::path(DIFFSCM_GRAPHS) / file).model) {}

  // "lung=yes | xray=yes", with do() and what is observed by name.
  double p(const std::string& of, const std::string& given = "", const std::string& set = "",
           const std::string& observed = "") const {
    Question question;
    size_t place = 0;
    for (const auto& [node, value] : values(of)) {
      question.of.push_back(node);
      place = place * model_.graph()[node].attribute.states.size() + static_cast<size_t>(value);
    }
    question.given = values(given);
    question.observed = values(observed);
    for (const auto& [node, value] : values(set))
      question.intervention.emplace(node, set_to(model_.graph()[node], value));
    return answer_exactly(model_, question).probabilities[place];
  }
  const StructuralCausalModel& model() const { return model_; }

 private:
  std::map<size_t, double> values(const std::string& text) const {
    std::map<size_t, double> result;
    if (text.empty()) return result;
    std::vector<data::Attribute> attributes;
    for (const Node& node : model_.graph().nodes()) attributes.push_back(node.attribute);
    for (const auto& [name, value] : data::parse_assignment(text, attributes))
      result[model_.graph().find(name)] = value;
    return result;
  }
  StructuralCausalModel model_;
};

TEST(Exact, asia_on_all_three_rungs) {
  const Model asia("asia.bif");
  const auto near = [](double value, double expected) { EXPECT_NEAR(value, expected, kTolerance); };
  near(asia.p("tub=yes"), .0104);
  near(asia.p("lung=yes"), .055);
  near(asia.p("bronc=yes"), .45);
  near(asia.p("either=yes"), .064828);
  near(asia.p("xray=yes"), .11029004);
  near(asia.p("dysp=yes"), .4359706);
  near(asia.p("lung=yes", "xray=yes"), .4887114013);
  near(asia.p("lung=yes", "xray=yes,smoke=yes"), .6459914255);
  near(asia.p("bronc=yes", "dysp=yes"), .8339673366);
  near(asia.p("dysp=yes", "bronc=yes"), .8079672);
  near(asia.p("dysp=yes", "bronc=no"), .1316097455);
  near(asia.p("dysp=yes", "", "bronc=yes"), .8064828);
  near(asia.p("dysp=yes", "", "bronc=no"), .1388968);
  near(asia.p("xray=yes", "bronc=yes"), .12409496);
  near(asia.p("xray=yes", "", "bronc=yes"), .11029004);
  near(asia.p("dysp=yes", "lung=yes"), .8145454545);
  near(asia.p("dysp=yes", "", "lung=yes"), .79);
  for (const bool seeing : {true, false}) {
    const auto ask = [&](const char* of, const char* smoke) {
      return seeing ? asia.p(of, smoke) : asia.p(of, "", smoke);
    };
    near(ask("dysp=yes", "smoke=yes"), .552808);
    near(ask("dysp=yes", "smoke=no"), .3191332);
    near(ask("xray=yes", "smoke=yes"), .1517048);
    near(ask("xray=yes", "smoke=no"), .06887528);
  }
  near(asia.p("dysp=yes", "", "smoke=no", "smoke=yes,dysp=yes"), .5772948293);
  near(asia.p("dysp=yes", "", "bronc=no", "bronc=yes,dysp=yes"), .1829321784);
  near(asia.p("xray=yes", "", "smoke=no", "smoke=yes,xray=yes"), .4540085745);
}

TEST(Exact, sprinkler_on_all_three_rungs) {
  const Model m("sprinkler.toml");
  const auto near = [](double value, double expected) { EXPECT_NEAR(value, expected, kTolerance); };
  near(m.p("wet=1"), .6471);
  near(m.p("sprinkler=1"), .3);
  near(m.p("rain=1"), .5);
  near(m.p("sprinkler=1", "wet=1"), .4297635605);
  near(m.p("rain=1", "wet=1"), .7079276773);
  near(m.p("sprinkler=1", "wet=1,rain=1"), .1944990177);
  near(m.p("wet=1", "sprinkler=1"), .927);
  near(m.p("wet=1", "sprinkler=0"), .5271428571);
  near(m.p("wet=1", "", "sprinkler=1"), .945);
  near(m.p("wet=1", "", "sprinkler=0"), .45);
  near(m.p("wet=1", "", "sprinkler=0", "sprinkler=1,wet=1"), .2912621359);
  near(m.p("wet=1", "", "sprinkler=0", "cloudy=0,sprinkler=1,rain=0,wet=1"), 0);
  near(m.p("wet=1", "", "sprinkler=0", "cloudy=0,sprinkler=1,rain=1,wet=1"), .9090909091);
  near(m.p("wet=1", "", "cloudy=1", "cloudy=0,sprinkler=0,rain=0,wet=0"), .675);
  near(m.p("rain=1", "", "cloudy=1", "cloudy=0,rain=0"), .75);
  // do() of what was observed changes nothing; evidence in both worlds.
  near(m.p("wet=1", "", "sprinkler=1", "sprinkler=1,wet=1"), 1);
  near(m.p("rain=1", "wet=1", "sprinkler=0", "sprinkler=1,wet=1"), 1);
  expect_error([&] { m.p("rain=1", "wet=1", "", "sprinkler=0,rain=0"); },
               "the evidence has probability 0");
  expect_error([&] { m.p("rain=1", "wet=1", "", "wet=0"); }, "contradicts itself");
}

TEST(Exact, joint_answers_and_those_about_evidence_are_distributions) {
  const Model m("sprinkler.toml");
  double total = 0;
  for (const char* of : {"rain=0,wet=0", "rain=0,wet=1", "rain=1,wet=0", "rain=1,wet=1"})
    total += m.p(of, "cloudy=1");
  EXPECT_NEAR(total, 1, kTolerance);
  EXPECT_NEAR(m.p("rain=1,wet=1", "cloudy=1"), 0.8 * (0.9 * 0.9 + 0.1 * 0.99), kTolerance);
  EXPECT_EQ(m.p("cloudy=1", "cloudy=1"), 1);
  EXPECT_EQ(m.p("cloudy=0", "cloudy=1"), 0);
  EXPECT_NEAR(m.p("cloudy=1,rain=1", "cloudy=1"), 0.8, kTolerance);
}

// The last of the 37 nodes, in both worlds at once.
TEST(Exact, alarm_answers_at_once) {
  const Model alarm("alarm.bif");
  EXPECT_NEAR(alarm.p("BP=LOW") + alarm.p("BP=NORMAL") + alarm.p("BP=HIGH"), 1, kTolerance);
  const double seen = alarm.p("CATECHOL=HIGH", "HRBP=HIGH,BP=LOW");
  const double imagined =
      alarm.p("BP=LOW", "", "LVFAILURE=FALSE", "LVFAILURE=TRUE,BP=LOW,HRBP=HIGH");
  EXPECT_GT(seen, 0.5);
  EXPECT_GT(imagined, 0.1);
  EXPECT_LT(imagined, 1);
}

// Figures by sampling for Gumbel-max, exact ones for the inverse CDF.
TEST(PairProbability, known_figures) {
  const std::vector<double> p = {.5, .3, .2}, q = {.2, .3, .5};
  const double gumbel[3][3] = {{.398, .140, .462}, {0, .770, .230}, {0, 0, 1}};
  const double inverse[3][3] = {{.4, .6, 0}, {0, 0, 1}, {0, 0, 1}};
  for (size_t i = 0; i < 3; ++i)
    for (size_t j = 0; j < 3; ++j) {
      EXPECT_NEAR(pair_probability(Coupling::gumbel_max, p, q, i, j) / p[i], gumbel[i][j], 2.1e-3);
      EXPECT_NEAR(pair_probability(Coupling::inverse_cdf, p, q, i, j) / p[i], inverse[i][j],
                  kTolerance);
    }
}

TEST(PairProbability, gumbel_max_by_hand) {
  const std::vector<double> p = {.5, .3, .2}, q = {.2, .3, .5};
  const auto pair = [&](size_t i, size_t j) {
    return pair_probability(Coupling::gumbel_max, p, q, i, j);
  };
  EXPECT_NEAR(pair(0, 0), 1 / 5., 1e-15);  // 1 / (1 + max(.6, 1.5) + max(.4, 2.5))
  EXPECT_NEAR(pair(1, 1), 1 / (1 / .6 + 1 + 1 / .6), 1e-15);
  EXPECT_NEAR(pair(2, 2), .2, 1e-15);               // it never stops winning
  EXPECT_NEAR(pair(0, 1), .3 - pair(1, 1), 1e-15);  // what is left of the margin
}

TEST(PairProbability, has_the_right_margins_and_is_what_the_noise_does) {
  const std::vector<std::pair<std::vector<double>, std::vector<double>>> pairs = {
      {{.1, .2, .3, .4}, {.4, .1, .3, .2}},
      {{0, .5, .25, .25}, {.5, 0, .5, 0}},
      {{1, 0, 0, 0}, {0, .2, .3, .5}},
      {{.25, .25, .25, .25}, {.25, .25, .25, .25}},
      {{1e-9, 1 - 3e-9, 1e-9, 1e-9}, {.7, 1e-9, .3 - 2e-9, 1e-9}}};
  for (const auto& [p, q] : pairs) {
    for (const Coupling coupling : {Coupling::gumbel_max, Coupling::inverse_cdf})
      for (size_t i = 0; i < 4; ++i) {
        double row = 0, column = 0;
        for (size_t j = 0; j < 4; ++j) {
          row += pair_probability(coupling, p, q, i, j);
          column += pair_probability(coupling, p, q, j, i);
        }
        EXPECT_NEAR(row, p[i], 1e-12);
        EXPECT_NEAR(column, q[i], 1e-12);
      }
    constexpr int kDraws = 40000;
    std::vector<double> count(16);
    for (uint64_t n = 0; n < kDraws; ++n) {
      RandomStream stream({.seed = 8, .purpose = kernels::Purpose::exogenous}, n);
      std::vector<double> g(4);
      for (double& x : g) x = stream.gumbel();
      count[gumbel_max(p, g) * 4 + gumbel_max(q, g)] += 1.0 / kDraws;
    }
    for (size_t i = 0; i < 4; ++i)
      for (size_t j = 0; j < 4; ++j)
        EXPECT_NEAR(count[i * 4 + j], pair_probability(Coupling::gumbel_max, p, q, i, j), 0.012);
  }
}

// Three states under soft do(): the twin network against draws from the posterior of the noise.
TEST(Exact, counterfactuals_agree_with_abduction_action_prediction) {
  const StructuralCausalModel model(
      Graph({category("a", {"x", "y", "z"}, {}, json::array({{.2, .3, .5}})),
             category("b", {"x", "y", "z"}, {"a"},
                      json::array({{"x", .6, .3, .1}, {"y", .2, .2, .6}, {"z", .1, .8, .1}})),
             category("c", {"x", "y", "z", "w"}, {"a", "b"},
                      json::array({{"x", "x", .1, .2, .3, .4},
                                   {"x", "y", .4, .3, .2, .1},
                                   {"x", "z", .3, .3, .3, .1},
                                   {"y", "x", .1, .1, .1, .7},
                                   {"y", "y", .7, .1, .1, .1},
                                   {"y", "z", .2, .5, .2, .1},
                                   {"z", "x", .1, .6, .2, .1},
                                   {"z", "y", .2, .2, .2, .4},
                                   {"z", "z", .3, .1, .5, .1}}))}));
  const Setting next{[](const Values& natural) {
                       Values set = natural;
                       for (double& v : set.numbers) v = std::fmod(v + 1, 3);
                       return set;
                     },
                     "natural + 1"};
  for (const bool soft_b : {false, true}) {
    Question question{.of = {2}, .observed = {{0, 2}, {2, 1}}, .intervention = {{0, next}}};
    if (soft_b) question.intervention.emplace(1, next);
    const auto exact = answer_exactly(model, question).probabilities;
    // Rejection: draw the noise, keep the rows that show what was observed.
    const Rows rows = first_rows(5, 200000);
    const NodeValues noise = model.draw_noise(rows);
    const Prediction actual = model.predict(noise, {}),
                     acted = model.predict(noise, question.intervention);
    std::vector<double> count(4);
    double kept = 0;
    for (size_t r = 0; r < 200000; ++r)
      if (actual.value[0].numbers[r] == 2 && actual.value[2].numbers[r] == 1) {
        count[static_cast<size_t>(acted.value[2].numbers[r])] += 1;
        kept += 1;
      }
    for (size_t k = 0; k < 4; ++k) EXPECT_NEAR(exact[k], count[k] / kept, 0.01) << k << soft_b;
  }
}

// age (a number) -> sex -> beard -> bald: what do() cuts off does not matter.
TEST(Exact, what_is_cut_off_needs_no_probabilities) {
  Node sex = binary("sex", {"age"}, json());
  sex.mechanism = {"equation", {{"value", "age > 0.5"}}};
  Node age = number("age");
  age.mechanism = {"equation", {{"value", "u"}, {"noise", {{"u", "normal(0, 1)"}}}}};
  const StructuralCausalModel model(
      Graph({age, sex, binary("beard", {"sex"}, json::array({{"no", .9, .1}, {"yes", .4, .6}})),
             binary("bald", {"beard"}, json::array({{"no", .8, .2}, {"yes", .5, .5}}))}));
  const auto setting = [&](size_t node) {
    return Intervention{{node, set_to(model.graph()[node], 1)}};
  };
  const auto why_not = [&](const Question& question) { return why_not_exact(model, question); };
  EXPECT_EQ(why_not({.of = {2}}), "node \"age\" is continuous");
  EXPECT_EQ(why_not({.of = {2}, .intervention = setting(1)}), "");
  EXPECT_NEAR(answer_exactly(model, {.of = {2}, .intervention = setting(1)}).probabilities[1], .6,
              kTolerance);
  EXPECT_NEAR(answer_exactly(model, {.of = {3}, .intervention = setting(1)}).probabilities[1],
              .6 * .5 + .4 * .2, kTolerance);
  EXPECT_NEAR(answer_exactly(model, {.of = {2}, .given = {{3, 1}}, .intervention = setting(1)})
                  .probabilities[1],
              .3 / .38, kTolerance);
  // What was observed depends on it, in the world as it is.
  EXPECT_EQ(why_not({.of = {3}, .observed = {{2, 1}}, .intervention = setting(1)}),
            "node \"age\" is continuous");
  // A do() that keeps some of what is natural cuts nothing.
  const Setting other{[](const Values& natural) {
                        Values set = natural;
                        for (double& v : set.numbers) v = 1 - v;
                        return set;
                      },
                      "1 - natural"};
  EXPECT_EQ(why_not({.of = {2}, .intervention = {{1, other}}}), "node \"age\" is continuous");
  EXPECT_EQ(why_not({.of = {2}, .intervention = setting(0)}), "node \"age\" is continuous");
}

}  // namespace
}  // namespace diffscm::causal
