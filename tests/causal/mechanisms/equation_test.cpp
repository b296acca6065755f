#include "causal/mechanisms/equation.h"

#include <cmath>
#include <numeric>

#include "tests/causal/scm_testing.h"

namespace diffscm::causal {
namespace {

using nlohmann::json;

const json kNormal = {{"u", "normal(0, 1)"}};

Role role(json parameters, std::vector<std::string> parents = {"x"}) {
  Node node = number("y", parents);
  node.mechanism = {"equation", std::move(parameters)};
  Role r{node, {}};
  for (const std::string& parent : parents) r.parents.push_back(number(parent));
  return r;
}
EquationMechanism equation(const std::string& value, json noise = kNormal) {
  return EquationMechanism(role({{"value", value}, {"noise", noise}}));
}

struct Batch {
  std::vector<int64_t> rows;
  Values x;
  std::vector<const Values*> parents;
  explicit Batch(int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      rows.push_back(i);
      x.numbers.push_back(RandomStream({.seed = 8}, static_cast<uint64_t>(i)).normal());
    }
    parents = {&x};
  }
  RowRandom random() const { return {{.purpose = kernels::Purpose::exogenous}, rows}; }
};

TEST(Equation, ReturnsWhatItAbduces) {
  const Batch batch(300);
  for (const auto& [text, noise] :
       std::vector<std::pair<std::string, json>>{{"2 * x + 3 * u", kNormal},
                                                 {"exp(x / 2) - (1 + x^2) * u", kNormal},
                                                 {"x + u^3 + u", kNormal},
                                                 {"sigmoid(x + u)", kNormal},
                                                 {"log(u) * exp(x)", {{"u", "exponential(2)"}}},
                                                 {"x + u^2", {{"u", "uniform(0, 3)"}}},
                                                 {"x - exp(u)", {{"u", "gumbel(0, 0.3)"}}}}) {
    const EquationMechanism mechanism = equation(text, noise);
    ASSERT_EQ(mechanism.abduction(), Abduction::exact) << text;
    const Values drawn = mechanism.draw_noise(batch.random());
    const Values y = mechanism.predict(drawn, batch.parents);
    const Values found = mechanism.abduct(y, batch.parents, batch.random());
    const Values back = mechanism.predict(found, batch.parents);
    for (size_t i = 0; i < y.numbers.size(); ++i) {
      EXPECT_NEAR(back.numbers[i], y.numbers[i], 1e-12 * (1 + std::abs(y.numbers[i]))) << text;
      EXPECT_NEAR(found.numbers[i], drawn.numbers[i], 1e-5) << text;
    }
  }
}

// Values of 1e-13, steps over 20 decades, seconds since 1970: nothing is measured in units of one.
TEST(Equation, AbductsInItsOwnUnits) {
  Values x({1.5});
  const std::vector<const Values*> parents{&x};
  const std::vector<int64_t> rows{0};
  const RowRandom random{{.purpose = kernels::Purpose::abduction}, rows};
  for (const auto& [text, u] : std::vector<std::pair<std::string, double>>{
           {"1e-13 * exp(x + u)", 1.2}, {"exp(10 * u) * x", 0.3}, {"1.7e9 + x + u / 10", -1.4}}) {
    const EquationMechanism mechanism = equation(text);
    ASSERT_EQ(mechanism.abduction(), Abduction::exact) << text;
    const Values y = mechanism.predict(Values({u}), parents);
    EXPECT_NEAR(mechanism.abduct(y, parents, random).numbers[0], u, 1e-5) << text;
  }
  expect_error([&] { equation("1e-13 * exp(x + u)").abduct(Values({-1e-13}), parents, random); },
               "-1e-13 has probability zero");
}

TEST(Equation, SaysWhatCannotBeInverted) {
  for (const char* text : {"x + abs(u)", "1 / ((u + x)^2 + 0.5)", "x * u", "sin(u) + x"})
    EXPECT_EQ(equation(text).abduction(),
              text == std::string("x * u") ? Abduction::exact : Abduction::impossible)
        << text;
  const EquationMechanism two =
      equation("x + u + w", {{"u", "normal(0, 1)"}, {"w", "normal(0, 1)"}});
  EXPECT_EQ(two.abduction(), Abduction::impossible);
  const Batch batch(1);
  expect_error([&] { two.abduct(batch.x, batch.parents, batch.random()); }, "cannot be told");
  // A claim is taken, and refused where it does not hold.
  const EquationMechanism claimed(
      role({{"value", "x + abs(u)"}, {"noise", kNormal}, {"invertible", true}}));
  EXPECT_EQ(claimed.abduction(), Abduction::exact);
  expect_error([&] { claimed.abduct(batch.x, batch.parents, batch.random()); }, "not monotone");
  // At x = 0 the noise of x * u is lost.
  Values zero({0});
  const std::vector<const Values*> parents{&zero};
  expect_error([&] { equation("x * u").abduct(zero, parents, batch.random()); }, "not monotone");
  Values outside({2});
  expect_error([&] { equation("sigmoid(x + u)").abduct(outside, parents, batch.random()); },
               "probability zero");
}

TEST(Equation, ARangeIsKeptOrRefused) {
  Role within = role({{"value", "x + u"}, {"noise", kNormal}});
  within.node.attribute.low = 0;
  within.node.attribute.high = 1;
  const EquationMechanism mechanism(within);
  Values x({0.25});
  const std::vector<const Values*> parents{&x};
  EXPECT_EQ(mechanism.predict(Values({0.5}), parents).numbers[0], 0.75);
  EXPECT_EQ(mechanism.predict(Values({0.75 + 1e-15}), parents).numbers[0], 1);  // but for rounding
  expect_error([&] { mechanism.predict(Values({-0.5}), parents); },
               "makes y -0.25, and its range is 0 to 1");
}

TEST(Equation, HasTheDensityOfItsNoise) {
  const Batch batch(50);
  const EquationMechanism mechanism = equation("x + exp(u)");
  const Values y = mechanism.predict(mechanism.draw_noise(batch.random()), batch.parents);
  ASSERT_TRUE(mechanism.has_log_density());
  const auto log_p = mechanism.log_density(y, batch.parents);
  for (size_t i = 0; i < log_p.size(); ++i) {
    const double e = y.numbers[i] - batch.x.numbers[i], u = std::log(e);
    EXPECT_NEAR(log_p[i], -u * u / 2 - std::log(2 * M_PI) / 2 - u, 1e-5);
  }
  EXPECT_FALSE(equation("x + abs(u)").has_log_density());
  // No noise makes it: -inf. A number with few digits left behind the point has it all the same.
  Values one({1}), below({-3}), time({1.7e9 + 1.05});
  const std::vector<const Values*> parents{&one};
  EXPECT_EQ(equation("x * exp(u)").log_density(below, parents)[0],
            -std::numeric_limits<double>::infinity());
  EXPECT_NEAR(equation("1.7e9 + x + u / 10").log_density(time, parents)[0],
              -0.125 - std::log(2 * M_PI) / 2 + std::log(10), 1e-3);
}

TEST(Equation, OfStatesDrawsThePosterior) {
  Role r = role({{"value", "u < sigmoid(x)"}, {"noise", {{"u", "uniform(0, 1)"}}}});
  r.node.kind = NodeKind::binary;
  r.node.attribute.states = {"no", "yes"};
  const EquationMechanism mechanism(r);
  EXPECT_EQ(mechanism.abduction(), Abduction::posterior);
  const Batch batch(2000);
  const Values y = mechanism.predict(mechanism.draw_noise(batch.random()), batch.parents);
  const Values noise = mechanism.abduct(y, batch.parents, batch.random());
  EXPECT_EQ(mechanism.predict(noise, batch.parents).numbers, y.numbers);
  double mean = 0;  // uniform over [0, sigmoid(x)] or the rest: overall uniform
  for (const double u : noise.numbers) mean += u / 2000;
  EXPECT_NEAR(mean, 0.5, 0.03);
  Values never({0});
  Role certain = r;
  certain.node.mechanism.parameters["value"] = "u < 2 + x * 0";
  const std::vector<const Values*> parents{&never};
  const std::vector<int64_t> rows{0};
  expect_error(
      [&] {
        EquationMechanism(certain).abduct(never, parents, {{}, rows});
      },
      "too improbable");
}

TEST(Equation, WithoutNoiseIsAFunction) {
  const EquationMechanism mechanism = equation("2 * x", json::object());
  const Batch batch(5);
  const Values y = mechanism.predict(mechanism.draw_noise(batch.random()), batch.parents);
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(y.numbers[i], 2 * batch.x.numbers[i]);
  EXPECT_EQ(
      mechanism.predict(mechanism.abduct(y, batch.parents, batch.random()), batch.parents).numbers,
      y.numbers);
  Values off = y;
  off.numbers[3] += 1;
  expect_error([&] { mechanism.abduct(off, batch.parents, batch.random()); }, "probability zero");
}

TEST(Equation, RefusesWhatItCannotUse) {
  const auto make = [](json parameters) {
    return [parameters] { EquationMechanism{role(parameters)}; };
  };
  expect_error(make(json::object()), "value is missing");
  expect_error(make({{"value", "x + v"}}), "v");
  expect_error(make({{"value", "x"}, {"noise", kNormal}}), "does not mention the noise \"u\"");
  expect_error(make({{"value", "x"}, {"noise", {{"x", "normal(0, 1)"}}}}), "both a parent and");
  expect_error(make({{"value", "x + u"}, {"noise", "normal(0, 1)"}}), "give {u = ");
  expect_error(make({{"value", "x + u"}, {"noise", {{"u", "cauchy(0, 1)"}}}}), "\"cauchy\"");
  expect_error(make({{"value", "x"}, {"invertible", true}}), "invertible is for");
  expect_error(make({{"value", "x"}, {"noises", 1}}), "no parameter \"noises\"");
}

TEST(Distribution, DrawsFollowTheDensity) {
  for (const char* text :
       {"normal(1, 2)", "uniform(-1, pi)", "exponential(0.5)", "laplace(1, 2)", "logistic(-1, 0.5)",
        "gumbel(0, 2)", "gamma(10, 5)", "gamma(0.7, 2)", "beta(2, 3)"}) {
    const Distribution d(text);
    const double low = d.usual_low(), width = d.usual_high() - low;
    double mass = 0, mean = 0, square = 0;
    const int n = 200000;
    for (int i = 0; i < n; ++i) {  // the integral over what is usual
      const double x = low + width * (i + 0.5) / n, p = std::exp(d.log_density(x)) * width / n;
      mass += p;
      mean += p * x;
      square += p * x * x;
    }
    EXPECT_NEAR(mass, 1, 3e-3) << text;  // gamma(0.7, .) has a pole
    double drawn = 0, drawn_square = 0;
    const int draws = 40000;
    for (int i = 0; i < draws; ++i) {
      RandomStream random({.seed = 1}, static_cast<uint64_t>(i));
      const double x = d.draw(random);
      ASSERT_TRUE(x >= d.low() && x <= d.high()) << text;
      drawn += x / draws;
      drawn_square += x * x / draws;
    }
    const double deviation = std::sqrt(square - mean * mean);
    EXPECT_NEAR(drawn, mean, 5 * deviation / std::sqrt(draws) + 0.005) << text;
    EXPECT_NEAR(drawn_square, square, 0.05 * square + 0.01) << text;
  }
}

TEST(Distribution, RefusesWhatItIsNot) {
  for (const auto& [text, why] :
       std::vector<std::pair<std::string, std::string>>{{"normal", "not a distribution"},
                                                        {"normal(0)", "normal(mean, deviation)"},
                                                        {"normal(0, -1)", "-1 must be above 0"},
                                                        {"uniform(1, 1)", "1 must be below 1"},
                                                        {"bernoulli(1.5)", "not a probability"},
                                                        {"normal(0, 1) + 1", "not a distribution"},
                                                        {"normal(0, 1/0)", "must be finite"}})
    expect_error([text = text] { Distribution{text}; }, why);
  RandomStream random({}, 0);
  EXPECT_EQ(Distribution("bernoulli(1)").draw(random), 1);
}

}  // namespace
}  // namespace diffscm::causal
