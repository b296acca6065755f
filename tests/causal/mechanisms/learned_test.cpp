// What every mechanism that learns must do: return what it abduces, whatever the batch, and after
// having been written and read; and learn what made the data.
#include <cmath>
#include <map>
#include <numeric>

#include "causal/inference/pair_probability.h"
#include "tests/causal/scm_testing.h"

namespace diffscm::causal {
namespace {

using nlohmann::json;

constexpr int64_t kRows = 400;

// A number x and a switch s -> node: continuous 0.5 x^2 + (s ? 2 : 1) (0.2 + u / 2), discrete of
// three states by the same.
struct World {
  Values x, s, number, state;
  explicit World(int64_t rows = kRows) {
    const kernels::RandomKey key{.seed = 9, .purpose = kernels::Purpose::exogenous};
    for (int64_t i = 0; i < rows; ++i) {
      RandomStream r(key, static_cast<uint64_t>(i));
      const double a = r.normal(), b = r.uniform() < 0.5, u = r.normal();
      x.numbers.push_back(a);
      s.numbers.push_back(b);
      number.numbers.push_back(0.5 * a * a + (1 + b) * (0.2 + u / 2));
      state.numbers.push_back(number.numbers.back() < 0.3 ? 0 : number.numbers.back() < 1 ? 1 : 2);
    }
  }
  std::vector<const Values*> parents() const { return {&x, &s}; }
};

struct Case {
  const char* mechanism;
  json parameters = json::object();
  bool discrete = false, root = false;
  double precision = 1e-9;  // of the way back
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.mechanism << " " << c.parameters;
}

Role role_of(const Case& c) {
  Node node = number("n");
  if (c.discrete) {
    node.kind = NodeKind::categorical;
    node.attribute.states = {"low", "middle", "high"};
  }
  node.mechanism = {c.mechanism, c.parameters};
  if (c.root) return {node, {}};
  node.parents = {"x", "s"};
  Node on = number("s");
  on.kind = NodeKind::binary;
  on.attribute.states = {"off", "on"};
  return {node, {number("x"), on}};
}

class Learned : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    role_ = role_of(GetParam());
    if (GetParam().mechanism != std::string("empirical"))
      role_.node.mechanism.parameters.update({{"steps", 200}, {"hidden", {16, 16}}});
    if (!GetParam().root) parents_ = world_.parents();
    mechanism_ = make_mechanism(role_);
  }
  const Values& value() const { return GetParam().discrete ? world_.state : world_.number; }
  RowRandom random(std::span<const int64_t> rows) const {
    return {{.seed = 2, .purpose = kernels::Purpose::abduction}, rows};
  }

  World world_;
  Role role_;
  std::vector<const Values*> parents_;
  std::unique_ptr<Mechanism> mechanism_;
  std::vector<int64_t> all_ = [] {
    std::vector<int64_t> rows(kRows);
    std::iota(rows.begin(), rows.end(), 0);
    return rows;
  }();
};

// Whatever the noise, a number stays in its node's range; within it nothing changes.
TEST(LearnedNumbers, StayInTheirRange) {
  const World world;
  for (const char* name : {"additive-noise", "conditional-affine", "spline", "diffusion"}) {
    Role role = role_of(Case{name, {{"steps", 50}, {"hidden", {8}}}});
    const auto predicted = [&](double low, double high) {
      role.node.attribute.low = low;
      role.node.attribute.high = high;
      const auto mechanism = make_mechanism(role);
      mechanism->fit(world.number, world.parents(), {.seed = 1});
      std::vector<double> noise;
      for (int64_t i = 0; i < kRows; ++i) noise.push_back(static_cast<double>(i % 9 - 4));
      return mechanism->predict(Values(noise), world.parents()).numbers;
    };
    std::vector<double> free = predicted(-INFINITY, INFINITY);
    const std::vector<double> bound = predicted(0, 1.5);
    EXPECT_TRUE(bound != free) << name;
    for (double& v : free) v = std::clamp(v, 0.0, 1.5);
    EXPECT_TRUE(bound == free) << name;
  }
}

TEST_P(Learned, KeepsTheContract) {
  EXPECT_FALSE(mechanism_->is_fitted());
  EXPECT_THROW(mechanism_->predict(mechanism_->draw_noise(random(all_)), parents_), Error);
  if (GetParam().mechanism != std::string("empirical")) {
    struct Stop {};  // a fit that was stopped has not taken place
    EXPECT_THROW(mechanism_->fit(value(), parents_,
                                 {.progress = [](double, double, auto&) { throw Stop{}; }}),
                 Stop);
    EXPECT_FALSE(mechanism_->is_fitted());
  }
  double last = 0;
  mechanism_->fit(value(), parents_, {.seed = 1, .progress = [&](double done, double total, auto&) {
                                        EXPECT_GE(done, last);
                                        EXPECT_LE(done, total);
                                        last = done;
                                      }});
  ASSERT_TRUE(mechanism_->is_fitted());

  const Values noise = mechanism_->abduct(value(), parents_, random(all_));
  const Values back = mechanism_->predict(noise, parents_);
  for (size_t i = 0; i < kRows; ++i)
    ASSERT_NEAR(back.numbers[i], value().numbers[i], GetParam().precision) << i;

  // A row alone.
  const std::vector<int64_t> row{7};
  std::vector<Values> selected;
  std::vector<const Values*> alone;
  for (const Values* p : parents_) selected.push_back(p->select(row));
  for (const Values& p : selected) alone.push_back(&p);
  const Values one = mechanism_->abduct(value().select(row), alone, random(row));
  EXPECT_EQ(one.numbers, noise.select(row).numbers);

  // A parent so far away that the network would answer NaN.
  if (!parents_.empty()) {
    selected[0].numbers[0] = 1e300;
    expect_error([&] { mechanism_->predict(noise.select(row), alone); }, "'x' = 1e+300: too far");
  }

  // From its file.
  const testing::TemporaryFolder folder;
  write_mechanism(folder / "n.safetensors", role_, *mechanism_);
  const auto read = read_mechanism(folder / "n.safetensors", role_);
  EXPECT_EQ(read->abduct(value(), parents_, random(all_)).numbers, noise.numbers);
  EXPECT_EQ(read->draw_noise(random(all_)).numbers, mechanism_->draw_noise(random(all_)).numbers);
  EXPECT_EQ(read->has_log_density(), mechanism_->has_log_density());
  if (read->has_log_density()) {
    EXPECT_EQ(read->log_density(value(), parents_), mechanism_->log_density(value(), parents_));
  }

  MechanismState state = mechanism_->state();
  state.values["surplus"] = 1;
  EXPECT_THROW(mechanism_->load(state), Error);
  EXPECT_THROW(mechanism_->load({}), Error);
}

INSTANTIATE_TEST_SUITE_P(
    Mechanisms, Learned,
    ::testing::Values(
        Case{"additive-noise"}, Case{"additive-noise", {{"noise", "normal"}}},
        Case{"conditional-affine"}, Case{"spline"}, Case{"spline", {{"bins", 4}}},
        Case{.mechanism = "categorical-network", .discrete = true},
        Case{.mechanism = "categorical-network",
             .parameters = {{"counterfactual", "inverse-cdf"}},
             .discrete = true},
        Case{.mechanism = "spline", .root = true},
        Case{.mechanism = "diffusion", .precision = 1e-4},
        Case{.mechanism = "diffusion", .root = true, .precision = 1e-4},
        Case{.mechanism = "diffusion", .parameters = {{"members", 2}}, .precision = 1e-4},
        Case{.mechanism = "diffusion", .parameters = {{"location_scale", true}}, .precision = 1e-4},
        Case{.mechanism = "diffusion", .parameters = {{"form", "anti-causal"}}, .precision = 1e-3},
        Case{.mechanism = "empirical", .root = true},
        Case{.mechanism = "empirical", .discrete = true, .root = true}));

// Densities are densities: of a fitted node they integrate to 1, for each combination of parents.
TEST(LearnedDensity, IntegratesToOne) {
  const World world;
  for (const char* name : {"additive-noise", "conditional-affine", "spline"}) {
    Case c{name, {{"steps", 200}, {"hidden", {16}}}};
    if (c.mechanism == std::string("additive-noise")) c.parameters["noise"] = "normal";
    const auto mechanism = make_mechanism(role_of(c));
    mechanism->fit(world.number, world.parents(), {});
    Values at, x, s;
    const double step = 0.01;
    for (double v = -12; v < 12; v += step) {
      at.numbers.push_back(v);
      x.numbers.push_back(0.7);
      s.numbers.push_back(1);
    }
    double mass = 0;
    const std::vector<const Values*> parents{&x, &s};
    for (const double l : mechanism->log_density(at, parents)) mass += std::exp(l) * step;
    EXPECT_NEAR(mass, 1, 1e-3) << name;
  }
}

// The noise that is recovered is the one that made the data.
TEST(LearnedNoise, IsTheOneThatMadeTheData) {
  const World world(3000);
  for (const char* name : {"conditional-affine", "spline"}) {
    const auto mechanism = make_mechanism(role_of({name, {{"steps", 1500}, {"hidden", {32, 32}}}}));
    mechanism->fit(world.number, world.parents(), {});
    const std::vector<int64_t> rows(3000);
    const Values noise = mechanism->abduct(world.number, world.parents(),
                                           {{.purpose = kernels::Purpose::abduction}, rows});
    double error = 0;
    for (size_t i = 0; i < 3000; ++i) {
      const double x = world.x.numbers[i], scale = 1 + world.s.numbers[i];
      const double u = ((world.number.numbers[i] - 0.5 * x * x) / scale - 0.2) * 2;
      error += std::pow(noise.numbers[i] - u, 2) / 3000;
    }
    EXPECT_LT(std::sqrt(error), 0.2) << name;
  }
}

// How the noise couples the states under two sets of parents is what exact counterfactuals assume.
TEST(LearnedCoupling, IsThatOfAbductionAndPrediction) {
  const World world;
  constexpr size_t kStates = 3, kDraws = 20000;
  for (const char* kind : {"gumbel-max", "inverse-cdf"}) {
    SCOPED_TRACE(kind);
    Role role = role_of({.mechanism = "categorical-network",
                         .parameters = {{"counterfactual", kind}, {"steps", 100}, {"hidden", {8}}},
                         .discrete = true});
    const auto mechanism = make_mechanism(role);
    mechanism->fit(world.state, world.parents(), {.seed = 1});
    const auto repeated = [](double value) { return Values(std::vector<double>(kDraws, value)); };
    const Values x = repeated(0.2), off = repeated(0), other = repeated(-1.5), on = repeated(1);
    const std::vector<const Values*> before{&x, &off}, after{&other, &on};
    const auto probabilities = [&](Parents parents) {
      std::vector<double> p;
      for (size_t k = 0; k < kStates; ++k)
        p.push_back(std::exp(mechanism->log_density(repeated(static_cast<double>(k)), parents)[0]));
      return p;
    };
    const std::vector<double> p = probabilities(before), q = probabilities(after);
    std::vector<int64_t> rows(kDraws);
    std::iota(rows.begin(), rows.end(), 0);
    const RowRandom random{{.seed = 2, .purpose = kernels::Purpose::abduction}, rows};
    for (size_t i = 0; i < kStates; ++i) {
      const Values noise = mechanism->abduct(repeated(static_cast<double>(i)), before, random);
      std::vector<double> count(kStates);
      for (const double state : mechanism->predict(noise, after).numbers)
        count[static_cast<size_t>(state)] += 1.0 / kDraws;
      for (size_t j = 0; j < kStates; ++j)
        EXPECT_NEAR(count[j], pair_probability(mechanism->coupling(), p, q, i, j) / p[i], 0.015)
            << i << " " << j;
    }
  }
}

TEST(LearnedMechanisms, RefuseWhatTheyCannotUse) {
  const auto make = [](const Case& c) { return [c] { make_mechanism(role_of(c)); }; };
  expect_error(make({.mechanism = "spline", .discrete = true}), "must be continuous");
  expect_error(make({.mechanism = "additive-noise", .discrete = true}), "must be continuous");
  expect_error(make({"categorical-network"}), "must be binary or categorical");
  expect_error(make({"empirical"}), "must be a root");
  expect_error(make({"spline", {{"bins", 1}}}), "a spline of 1 bins");
  expect_error(make({"spline", {{"hidden", json::array()}}}), "hidden has 0 layers");
  expect_error(make({"spline", {{"steps", 0}}}), "0 steps");
  expect_error(make({"spline", {{"size", 3}}}), "no parameter \"size\"");
}

}  // namespace
}  // namespace diffscm::causal
