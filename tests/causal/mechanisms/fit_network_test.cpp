#include "causal/mechanisms/fit_network.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kernels/error.h"
#include "tests/engine/io_testing.h"

namespace diffscm::causal {
namespace {

// y = sin(3 x) + noise, by squared error.
struct Sine {
  std::vector<double> x, y;
  explicit Sine(int rows, double noise) {
    std::mt19937 random(7);
    std::normal_distribution<double> normal;
    for (int i = 0; i < rows; ++i) {
      x.push_back(normal(random));
      y.push_back(std::sin(3 * x.back()) + noise * normal(random));
    }
  }
  NetworkTask task() const {
    return {.rows = std::ssize(x),
            .inputs =
                [this](std::span<const int64_t> rows, int64_t, std::span<float> inputs) {
                  for (size_t i = 0; i < rows.size(); ++i)
                    inputs[i] = static_cast<float>(x[static_cast<size_t>(rows[i])]);
                },
            .loss =
                [this](std::span<const int64_t> rows, int64_t, std::span<const float> outputs,
                       std::span<float> gradient) {
                  double sum = 0;
                  for (size_t i = 0; i < rows.size(); ++i) {
                    const double e = outputs[i] - y[static_cast<size_t>(rows[i])];
                    sum += e * e;
                    if (!gradient.empty()) gradient[i] = static_cast<float>(2 * e);
                  }
                  return sum;
                }};
  }
};

TEST(FitNetwork, LearnsAFunction) {
  const Sine sine(1000, 0.1);
  Mlp network({.inputs = 1, .outputs = 1, .hidden = {32, 32}}, 0);
  int64_t last = 0;
  const NetworkFit fit = fit_network(network, sine.task(), {.steps = 1500, .lr = 1e-2},
                                     [&](int64_t done, int64_t, double) { last = done; });
  EXPECT_EQ(last, 1500);
  EXPECT_LT(fit.loss, 0.03);  // the noise alone: 0.01
  const std::vector<float> at{-1, 0, 0.5};
  const std::vector<float> y = evaluate(network, at);
  for (size_t i = 0; i < at.size(); ++i) EXPECT_NEAR(y[i], std::sin(3 * at[i]), 0.1);
}

TEST(FitNetwork, GoesOnFromItsCheckpointToTheSameBits) {
  const Sine sine(300, 0.1);
  const NetworkFitOptions options{.steps = 200, .lr = 1e-2, .seed = 3};
  const MlpConfig config{.inputs = 1, .outputs = 1, .hidden = {8}};
  const std::vector<float> at{-1, 0, 0.5};
  Mlp whole(config, 0);
  const NetworkFit expected = fit_network(whole, sine.task(), options);

  struct Stop {};
  const testing::TemporaryFolder folder;
  const auto file = folder.path() / "x" / "fit.safetensors";
  int64_t stopped_at = 0, first_seen = 0;
  Mlp begun(config, 0);
  EXPECT_THROW(fit_network(begun, sine.task(), options,
                           [&](int64_t done, int64_t, double) {
                             if (done >= 100) stopped_at = done;
                             if (done > 100) throw Stop{};
                           },
                           {.file = file, .stop = [&] { return stopped_at > 0; }}),
               Stop);
  Mlp resumed(config, 0);
  const auto resume = [&](const NetworkFitOptions& how) {
    return fit_network(
        resumed, sine.task(), how,
        [&](int64_t done, int64_t, double) { first_seen = first_seen > 0 ? first_seen : done; },
        {.file = file});
  };
  const NetworkFit fit = resume(options);
  EXPECT_GT(first_seen, stopped_at);
  EXPECT_EQ(fit.loss, expected.loss);
  EXPECT_EQ(fit.kept_step, expected.kept_step);
  EXPECT_EQ(evaluate(resumed, at), evaluate(whole, at));
  // And what is done is not done again.
  first_seen = 0;
  EXPECT_EQ(resume(options).loss, expected.loss);
  EXPECT_EQ(first_seen, 0);
  EXPECT_EQ(evaluate(resumed, at), evaluate(whole, at));

  testing::expect_error([&] { resume({.steps = 300}); }, "no checkpoint of this fit");
  resumed = Mlp({.inputs = 1, .outputs = 1, .hidden = {32}}, 0);
  testing::expect_error([&] { resume(options); }, "of another size");
  testing::put(file, "nothing");
  EXPECT_THROW(resume(options), Error);
}

TEST(FitNetwork, KeepsWhatIsBestOnHeldOutRows) {
  const Sine sine(60, 1.0);  // 54 rows to learn by heart
  Mlp network({.inputs = 1, .outputs = 1, .hidden = {64, 64}}, 0);
  const NetworkFit fit = fit_network(network, sine.task(), {.steps = 1200, .lr = 1e-2});
  EXPECT_LT(fit.kept_step, 1200);
}

TEST(FitNetwork, IsAFunctionOfItsSeed) {
  const Sine sine(200, 0.1);
  const auto fitted = [&](uint64_t seed) {
    Mlp network({.inputs = 1, .outputs = 1, .hidden = {8}}, 0);
    fit_network(network, sine.task(), {.steps = 50, .seed = seed});
    return evaluate(network, std::vector<float>{0.3f});
  };
  EXPECT_EQ(fitted(1), fitted(1));
  EXPECT_NE(fitted(1), fitted(2));
}

TEST(FitNetwork, RefusesWhatItCannotUse) {
  const Sine sine(100, 0.1);
  Mlp network({.inputs = 1, .outputs = 1, .hidden = {8}}, 0);
  NetworkTask none = sine.task();
  none.rows = 0;
  EXPECT_THROW(fit_network(network, none, {}), Error);
  EXPECT_THROW(fit_network(network, sine.task(), {.steps = 0}), Error);
  EXPECT_THROW(fit_network(network, sine.task(), {.lr = NAN}), Error);
  Sine broken(100, 0.1);
  broken.y[3] = INFINITY;
  EXPECT_THROW(fit_network(network, broken.task(), {.steps = 5}), Error);
}

}  // namespace
}  // namespace diffscm::causal
