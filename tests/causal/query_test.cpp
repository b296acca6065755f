#include "causal/query.h"

#include <cmath>

#include "causal/model_folder.h"
#include "tests/causal/scm_testing.h"

namespace diffscm::causal {
namespace {

StructuralCausalModel shipped(const char* file) {
  return load_model(std::filesystem::path(DIFFSCM_GRAPHS) / file).model;
}

// x = u, y = slope x + spread v: the simplest mechanism that has a density.
class Linear : public Mechanism {
 public:
  Linear(double slope, double spread, Abduction abduction = Abduction::exact)
      : slope_(slope), spread_(spread), abduction_(abduction) {}
  Abduction abduction() const override { return abduction_; }
  Values abduct(const Values& value, Parents parents, const RowRandom&) const override {
    Values noise = value;
    for (size_t r = 0; r < noise.numbers.size(); ++r)
      noise.numbers[r] = (noise.numbers[r] - mean(parents, r)) / spread_;
    return noise;
  }
  Values predict(const Values& noise, Parents parents) const override {
    Values value = noise;
    for (size_t r = 0; r < value.numbers.size(); ++r)
      value.numbers[r] = mean(parents, r) + spread_ * value.numbers[r];
    return value;
  }
  Values draw_noise(const RowRandom& random) const override {
    std::vector<double> noise;
    for (int64_t r = 0; r < random.size(); ++r) noise.push_back(random.stream(r).normal());
    return Values(std::move(noise));
  }
  bool has_log_density() const override { return true; }
  std::vector<double> log_density(const Values& value, Parents parents) const override {
    std::vector<double> logs = abduct(value, parents, {}).numbers;
    for (double& z : logs) z = -z * z / 2 - std::log(spread_);
    return logs;
  }
  void fit(const Values&, Parents, const FitOptions&) override {}
  bool is_fitted() const override { return true; }
  MechanismState state() const override { return {}; }
  void load(const MechanismState&) override {}
  std::string description() const override { return "linear"; }

 private:
  double mean(Parents parents, size_t row) const {
    double sum = 0;
    for (const Values* p : parents) sum += slope_ * p->numbers[row];
    return sum;
  }
  double slope_, spread_;
  Abduction abduction_;
};

// z -> x -> y, z -> y, all linear and Gaussian.
StructuralCausalModel gaussian(Abduction of_y = Abduction::exact) {
  Node y = number("y", {"x", "z"});
  std::vector<std::unique_ptr<Mechanism>> mechanisms;
  mechanisms.push_back(std::make_unique<Linear>(0, 1));
  mechanisms.push_back(std::make_unique<Linear>(1, 1));
  mechanisms.push_back(std::make_unique<Linear>(2, 0.5, of_y));
  return {Graph({number("z"), number("x", {"z"}), y}), std::move(mechanisms)};
}

TEST(Query, seeing_doing_and_imagining_in_one_syntax) {
  const auto m = shipped("sprinkler.toml");
  const auto ask = [&](const QueryText& text) { return answer(m, text); };
  const Answer seeing = ask({.of = "wet=1", .given = "sprinkler=0"});
  EXPECT_EQ(seeing.question, "P(wet=1 | sprinkler=0)");
  EXPECT_EQ(seeing.rung, Rung::seeing);
  EXPECT_TRUE(seeing.exact);
  EXPECT_NEAR(seeing.lines[0].value, .5271428571, 1e-9);
  EXPECT_NEAR(seeing.evidence, .7, 1e-12);
  const Answer doing = ask({.of = "wet=1", .set = "sprinkler=0"});
  EXPECT_EQ(doing.question, "P(wet=1 | do(sprinkler=0))");
  EXPECT_NEAR(doing.lines[0].value, .45, 1e-12);
  const Answer imagining =
      ask({.of = "wet=1", .observed = "sprinkler=1,wet=1", .set = "sprinkler=0"});
  EXPECT_EQ(imagining.question,
            "P(wet=1 | do(sprinkler=0)) where it was observed: sprinkler=1, wet=1");
  EXPECT_EQ(imagining.rung, Rung::imagining);
  EXPECT_NEAR(imagining.lines[0].value, .2912621359, 1e-9);
  const Answer all = ask({.of = "rain, wet", .given = "cloudy=1"});
  ASSERT_EQ(all.lines.size(), 4u);
  EXPECT_EQ(all.lines[3].of, "rain=1, wet=1");
  EXPECT_NEAR(all.lines[3].value, 0.8 * (0.9 * 0.9 + 0.1 * 0.99), 1e-12);
}

// do() as a function of the natural state: p(natural) is that of the graph, and what becomes of it
// is what the children see.
TEST(Query, soft_interventions_on_states_are_exact) {
  const auto m = shipped("sprinkler.toml");
  EXPECT_NEAR(answer(m, {.of = "wet=1", .set = "sprinkler=natural"}).lines[0].value, .6471, 1e-12);
  const double swapped =  // 1 with 0.5 where it is clear, 0.9 where cloudy
      0.5 * (0.5 * (0.8 * 0.9 + 0.2 * 0.99) + 0.5 * 0.2 * 0.9) +
      0.5 * (0.9 * (0.2 * 0.9 + 0.8 * 0.99) + 0.1 * 0.8 * 0.9);
  const Answer a = answer(m, {.of = "wet=1", .set = "sprinkler=(0->1, 1->0)"});
  EXPECT_TRUE(a.exact);
  EXPECT_EQ(a.question, "P(wet=1 | do(sprinkler=(0->1, 1->0)))");
  EXPECT_NEAR(a.lines[0].value, swapped, 1e-12);
  // The sprinkler was on; had it been the other way, off: as do(sprinkler=0).
  EXPECT_NEAR(
      answer(m, {.of = "wet=1", .observed = "sprinkler=1,wet=1", .set = "sprinkler=(0->1, 1->0)"})
          .lines[0]
          .value,
      .2912621359, 1e-9);
  // Whatever is natural, off.
  EXPECT_NEAR(answer(m, {.of = "wet=1", .set = "sprinkler=(*->0)"}).lines[0].value, .45, 1e-12);
}

// The exact answers by samples, for each rung; intervals that hold them.
TEST(Query, samples_agree_with_exact_answers) {
  for (const char* file : {"sprinkler.toml", "asia.bif"}) {
    const auto m = shipped(file);
    const bool asia = std::string(file) == "asia.bif";
    const std::vector<QueryText> texts =
        asia
            ? std::vector<QueryText>{{.of = "dysp=yes", .given = "bronc=yes"},
                                     {.of = "dysp=yes", .set = "bronc=yes"},
                                     {.of = "lung=yes", .given = "xray=yes,smoke=yes"},
                                     {.of = "dysp=yes",
                                      .observed = "smoke=yes,dysp=yes",
                                      .set = "smoke=no"}}
            : std::vector<QueryText>{
                  {.of = "rain=1", .given = "wet=1"},
                  {.of = "wet=1", .set = "sprinkler=0"},
                  {.of = "wet=1", .set = "sprinkler=(0->1,1->0)"},
                  {.of = "rain=1", .observed = "wet=1", .set = "cloudy=(0->1,1->0)"},
                  {.of = "wet=1", .observed = "sprinkler=1,wet=1", .set = "sprinkler=0"},
                  {.of = "rain=1", .given = "wet=1", .observed = "cloudy=0", .set = "sprinkler=0"}};
    for (const QueryText& text : texts) {
      const double exact = answer(m, text).lines[0].value;
      const Answer sampled =
          answer(m, text, {.sampling = {.samples = 40000, .seed = 3}, .demand_samples = true});
      EXPECT_FALSE(sampled.exact);
      EXPECT_NEAR(sampled.lines[0].value, exact, 0.02) << sampled.question;
      EXPECT_LT(sampled.lines[0].low - 0.006, exact) << sampled.question;
      EXPECT_GT(sampled.lines[0].high + 0.006, exact) << sampled.question;
      EXPECT_LE(sampled.effective, 40000);
    }
  }
}

TEST(Query, numbers_are_answered_by_samples_with_an_interval) {
  const auto m = gaussian();
  const AnswerOptions options{.sampling = {.samples = 60000, .seed = 1}};
  // E(y | x = 1): z given x = 1 is N(1/2, 1/2), so 2 + 1.
  const Answer seeing = answer(m, {.of = "y", .given = "x=1"}, options);
  EXPECT_EQ(seeing.question, "E(y | x=1)");
  EXPECT_NEAR(seeing.lines[0].value, 3, 0.03);
  EXPECT_LT(seeing.lines[0].low, 3);
  EXPECT_GT(seeing.lines[0].high, 3);
  EXPECT_LT(seeing.effective, 60000);
  EXPECT_NE(seeing.method.find("importance sampling"), std::string::npos);
  const Answer doing = answer(m, {.of = "y", .set = "x=1"}, options);
  EXPECT_NEAR(doing.lines[0].value, 2, 0.05);
  EXPECT_EQ(doing.method, "60000 samples");
  // P(y > 2 | do(x = 1)) = 1/2.
  EXPECT_NEAR(answer(m, {.of = "y>2", .set = "x=1"}, options).lines[0].value, 0.5, 0.01);
  // Partial evidence: x is observed, z is not; y under do(x = 0) is 2 z: mean 1.
  const Answer partial = answer(m, {.of = "y", .observed = "x=1", .set = "x=0"}, options);
  EXPECT_NEAR(partial.lines[0].value, 1, 0.03);
}

// Evidence that no sample comes near: the nearest has all the weight, and is no answer.
TEST(Query, one_sample_says_nothing_of_its_interval) {
  for (const QueryText& text : {QueryText{.of = "z", .given = "y=500"}, QueryText{.of = "z"}}) {
    const Answer a =
        answer(gaussian(), text, {.sampling = {.samples = text.given.empty() ? 1 : 100}});
    EXPECT_EQ(a.lines[0].low, -std::numeric_limits<double>::infinity());
    EXPECT_EQ(a.lines[0].high, std::numeric_limits<double>::infinity());
  }
}

TEST(Query, full_evidence_and_noise_that_is_known_are_exact) {
  const Answer a =
      answer(gaussian(), {.of = "y", .observed = "z=1,x=2,y=7", .set = "x=natural*1.5"});
  EXPECT_TRUE(a.exact);
  EXPECT_EQ(a.method, "exact: abduction, action, prediction, every noise known");
  EXPECT_EQ(a.lines[0].value, 9);  // y = 2 x + 2 z + 1
  EXPECT_EQ(a.lines[0].low, 9);
  // do() of what is so: the factual value itself.
  EXPECT_EQ(answer(gaussian(), {.of = "y", .observed = "z=0.1,x=0.2,y=0.7", .set = "x=0.2"})
                .lines[0]
                .value,
            0.7);
  expect_error(
      [] {
        answer(gaussian(Abduction::impossible),
               {.of = "y", .observed = "z=1,x=2,y=7", .set = "x=0"});
      },
      R"(node "y" is observed, and its mechanism (linear) cannot abduct)");
  // Of a node that do() sets whatever is natural, or whose parents stay, no noise is asked for.
  for (const auto& [set, value] : {std::pair{"x=0,y=3", 3.0}, {"y=natural*2", 14.0}}) {
    const Answer known =
        answer(gaussian(Abduction::impossible), {.of = "y", .observed = "z=1,x=2,y=7", .set = set});
    EXPECT_TRUE(known.exact) << set;
    EXPECT_EQ(known.lines[0].value, value) << set;
  }
  expect_error(
      [] { answer(gaussian(), {.of = "z", .given = "y=1", .observed = "x=1", .set = "x=2"}); },
      "y=1 is given in the world of do()");
}

TEST(Query, says_what_is_wrong) {
  const auto m = shipped("asia.bif");
  const auto expect = [&](const QueryText& text, std::string_view part) {
    expect_error([&] { answer(m, text); }, part);
  };
  expect({.of = ""}, "--of asks for nothing");
  expect({.of = "lungs=yes"}, R"(there is no node "lungs": give "asia", "tub")");
  expect({.of = "lung=maybe"}, R"(lung "maybe" is unknown: give "yes" or "no")");
  expect({.of = "lung=yes,xray"}, "not for both");
  expect({.of = "lung=yes,lung=no"}, "asks for lung twice");
  expect({.of = "lung>yes"}, "which are equal or not");
  expect({.of = "lung", .given = "smoke"}, "what is known is NODE=VALUE");
  expect({.of = "lung", .given = "smoke=yes,smoke=no"}, "gives smoke twice");
  expect({.of = "lung", .given = "either=no,tub=yes"}, "the evidence has probability 0");
  expect({.of = "lung", .set = "smoke=perhaps"}, R"("perhaps" is unknown)");
  expect_error(
      [&] {
        answer(m, {.of = "lung", .given = "either=no,tub=yes"},
               {.sampling = {.samples = 100}, .demand_samples = true});
      },
      "none of 100 samples agrees with the evidence");
  // Nor where every sample shares the factor that is zero.
  expect_error(
      [] {
        answer(shipped("sprinkler.toml"), {.of = "cloudy", .given = "sprinkler=0,rain=0,wet=1"},
               {.demand_samples = true});
      },
      "wet=1 has probability 0 given what else is known");
  expect_error([] { answer(gaussian(), {.of = "y=1"}); }, "y is continuous and has any one value");
  Node hidden = binary("u", {}, nlohmann::json::array({{.5, .5}}));
  hidden.column.clear();
  const StructuralCausalModel latent{Graph({hidden})};
  expect_error([&] { answer(latent, {.of = "u"}); }, R"(node "u" is latent)");
}

TEST(Query, states_and_names_may_hold_commas_and_signs) {
  const Graph g(
      {category("size, in cm", {"<1", "1, 2", ">=3"}, {}, nlohmann::json::array({{.5, .25, .25}})),
       binary("a", {}, nlohmann::json::array({{.5, .5}}))});
  const auto values = parse_evidence("size, in cm=1, 2,a=yes", g);
  EXPECT_EQ(values, (std::map<size_t, double>{{0, 1}, {1, 1}}));
  EXPECT_EQ(parse_evidence("size, in cm=>=3", g).at(0), 2);
  EXPECT_EQ(parse_terms("a, size, in cm", g).size(), 2u);
  EXPECT_EQ(parse_evidence(R"("size, in cm"="1, 2", a="yes")", g), values);
  const QueryText text{.of = R"("size, in cm"="1, 2")", .given = "a=yes"};
  const StructuralCausalModel m(g);
  EXPECT_EQ(answer(m, text).question, R"(P("size, in cm"="1, 2" | a=yes))");
  EXPECT_EQ(answer(m, text).lines[0].value, .25);
}

}  // namespace
}  // namespace diffscm::causal
