// L_vb of training against its definition, and that it teaches v, and v alone.
#include "training/variational_bound.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <numbers>
#include <optional>

#include "autograd/adamw.h"
#include "tests/engine/io_testing.h"
#include "tests/models/tiny_models.h"
#include "training/diffusion_training.h"

namespace diffscm {
namespace {

using testing::random_tensor;

// The two Gaussians of a step written down as guided-diffusion has them: the posterior's mean as a
// sum of x_0 and x_t, the model's the same of the x_0 that its eps stands for.
double divergence_bits(const NoiseSchedule& schedule, int t, double x_0, double x_t, double eps,
                       double v) {
  const double beta = schedule.beta(t), a = schedule.alpha_bar(t),
               before = schedule.alpha_bar(t - 1);
  const auto mean = [&](double clean) {
    return beta * std::sqrt(before) / (1 - a) * clean +
           (1 - before) * std::sqrt(1 - beta) / (1 - a) * x_t;
  };
  const double truth = mean(x_0), model = mean((x_t - std::sqrt(1 - a) * eps) / std::sqrt(a));
  const double log_true = std::log(beta * (1 - before) / (1 - a)), share = (v + 1) / 2;
  const double log_model = share * std::log(beta) + (1 - share) * log_true;
  return 0.5 *
         (log_model - log_true - 1 + std::exp(log_true - log_model) +
          std::pow(truth - model, 2) * std::exp(-log_model)) /
         std::numbers::ln2;
}

TEST(VariationalBound, IsTheDivergenceOfTheModelsStepFromThePosterior) {
  for (const ScheduleKind kind : {ScheduleKind::linear, ScheduleKind::cosine})
    for (const int t : {1, 2, 60, 500, 999}) {
      SCOPED_TRACE(fmt::format("{} t {}", name_of(kind), t));
      const NoiseSchedule schedule(kind, 1000);
      const double a = schedule.alpha_bar(t), x_0 = 0.4, noise = -0.7, eps = -0.5, v = 0.3;
      const double x_t = std::sqrt(a) * x_0 + std::sqrt(1 - a) * noise;
      const auto number = [](double x) { return Tensor::full({1, 1}, static_cast<float>(x)); };
      const double bits = variational_bound(number(eps), number(v), number(noise), number(x_t),
                                            bound_steps(schedule, std::array{t}, Target::cpu))
                              .value()
                              .to_vector()[0];
      const double expected = divergence_bits(schedule, t, x_0, x_t, eps, v);
      EXPECT_NEAR(bits, expected, 1e-5 * expected);
    }
}

// -log2 of the probability of the grey level, by integrating the Gaussian's density over it.
TEST(VariationalBound, IsTheLevelsProbabilityAtTheLastStep) {
  const NoiseSchedule schedule(ScheduleKind::linear, 1000);
  const double beta = schedule.beta(0), after = schedule.beta(1), a1 = schedule.alpha_bar(1);
  const double least = after * beta / (1 - a1), v = 0.3, share = (v + 1) / 2;
  const double s = std::exp((share * std::log(beta) + (1 - share) * std::log(least)) / 2);
  for (const int level : {0, 77, 255}) {
    const double x_0 = level * 2.0 / 255 - 1, noise = 0.6, eps = 0.1;
    const double x_t = std::sqrt(1 - beta) * x_0 + std::sqrt(beta) * noise;
    const double mean = (x_t - std::sqrt(beta) * eps) / std::sqrt(1 - beta);
    const double low = level == 0 ? mean - 12 * s : x_0 - 1.0 / 255,
                 high = level == 255 ? mean + 12 * s : x_0 + 1.0 / 255;
    double p = 0;
    constexpr int kPieces = 20000;
    for (int i = 0; i < kPieces; ++i) {
      const double z = (low + (high - low) * (i + 0.5) / kPieces - mean) / s;
      p += std::exp(-z * z / 2) / std::sqrt(2 * std::numbers::pi) * (high - low) / kPieces / s;
    }
    const auto number = [](double x) { return Tensor::full({1, 1}, static_cast<float>(x)); };
    const Variable bits = variational_bound(number(eps), number(v), number(noise), number(x_t),
                                            bound_steps(schedule, std::array{0}, Target::cpu));
    EXPECT_NEAR(bits.value().to_vector()[0], -std::log2(p), 1e-4) << level;
  }
}

TEST(VariationalBound, TheShortestChainHasOneVariance) {
  const Tensor step =
      bound_steps(NoiseSchedule(ScheduleKind::cosine, 1), std::array{0}, Target::cpu);
  EXPECT_EQ(step.to_vector()[0], 0);
  testing::expect_error(
      [] { bound_steps(NoiseSchedule(ScheduleKind::linear, 100), std::array{100}, Target::cpu); },
      "timestep 100");
}

// Images of noise: at low levels nothing tells theirs from ours, at high levels all that is seen is
// ours.
data::Dataset noisy_images() {
  data::Dataset d;
  d.name = "noisy";
  d.height = d.width = 8;
  d.channels = 1;
  d.pixels = random_tensor({100, 8, 8, 1}, 1, 0.3f).to_vector();
  return d;
}

class HybridLossTest : public ::testing::Test {
 protected:
  HybridLossTest() {
    config_ = testing::tiny_unet_config();
    config_.out_channels = 2;
  }
  DiffusionTraining training(bool variance, bool min_snr = false) const {
    return {dataset_,
            schedule_,
            {},
            {.batch = 8, .min_snr = min_snr, .variance = variance},
            Target::cpu};
  }
  // Of the weights of the last convolution [2,3,3,32]: eps's, then v's.
  static std::vector<float> last_gradient(const DiffusionTraining& training, UNet& unet) {
    ForwardContext context;
    const TrainingLoss loss = training.loss(unet, training.batch(0), context);
    backward(loss.total, Tensor::full({8}, 0.125f));
    for (const auto& [name, p] : named_parameters(unet))
      if (name == "out.2.weight") {
        std::vector<float> g = p->variable.gradient().to_vector();
        for (const auto& [other, q] : named_parameters(unet)) q->variable.clear_gradient();
        return g;
      }
    return {};
  }

  data::Dataset dataset_ = noisy_images();
  NoiseSchedule schedule_{ScheduleKind::linear, 1000};
  UNetConfig config_;
};

TEST_F(HybridLossTest, TheBoundMovesTheVarianceAlone) {
  UNet unet(config_, 1);
  testing::randomise(unet);
  testing::want_gradients(unet);
  for (const bool min_snr : {false, true}) {
    const std::vector<float> without = last_gradient(training(false, min_snr), unet),
                             with = last_gradient(training(true, min_snr), unet);
    ASSERT_EQ(with.size(), without.size());
    const size_t half = with.size() / 2;
    double of_variance = 0;
    for (size_t i = 0; i < half; ++i) {
      EXPECT_EQ(with[i], without[i]) << i;
      EXPECT_EQ(without[half + i], 0) << i;
      of_variance += std::abs(double{with[half + i]});
    }
    EXPECT_GT(of_variance, 0);
  }
}

TEST_F(HybridLossTest, IsTheSumOfItsParts) {
  UNet unet(config_, 1);
  testing::randomise(unet);
  for (const int timesteps : {1000, 200}) {
    const NoiseSchedule schedule(ScheduleKind::linear, timesteps);
    const DiffusionTraining training(dataset_, schedule, {}, {.batch = 8, .variance = true},
                                     Target::cpu);
    EXPECT_EQ(training.parts(), (std::vector<std::string>{"mse", "vlb"}));
    ForwardContext context;
    const TrainingLoss loss = training.loss(unet, training.batch(0), context);
    const std::vector<float> total = loss.total.value().to_vector(),
                             mse = loss.parts.at(0).to_vector(), vlb = loss.parts.at(1).to_vector();
    for (size_t i = 0; i < 8; ++i)
      EXPECT_NEAR(total[i], mse[i] + timesteps / 1000.0 * vlb[i], 1e-6);
  }
  EXPECT_TRUE(training(false).parts().empty());
}

// Beside the eps that was learnt with it, the learnt variance costs less than any that is the same
// everywhere: untaught (the last convolution starts at v = 0), the posterior's, or beta.
TEST_F(HybridLossTest, ALearntVarianceCostsLessThanAFixedOne) {
  UNet unet(config_, 1);
  testing::want_gradients(unet);
  std::vector<Variable*> parameters;
  for (const auto& [name, p] : named_parameters(unet)) parameters.push_back(&p->variable);
  Adamw optimiser(parameters, {.lr = 3e-3});
  const NoiseSchedule schedule(ScheduleKind::linear, 50);
  const DiffusionTraining training(dataset_, schedule, {}, {.batch = 8, .variance = true},
                                   Target::cpu);
  for (int64_t step = 0; step < 60; ++step) {
    ForwardContext context;
    const TrainingLoss loss = training.loss(unet, training.batch(step), context);
    backward(loss.total, Tensor::full({8}, 0.125f));
    optimiser.step();
  }
  const auto cost = [&](std::optional<float> v) {
    double sum = 0;
    for (int64_t step = 1000; step < 1010; ++step) {
      const TrainingBatch b = training.batch(step);
      const UNet::Outputs out = unet.outputs(b[0], b[1]);
      const Tensor variance = v ? Tensor::full(out.v.shape(), *v) : out.v;
      for (const float bits :
           variational_bound(out.eps, variance, b[2], b[0], b[3]).value().to_vector())
        sum += bits;
    }
    return sum;
  };
  const double learnt = cost({});
  for (const float v : {-1.0f, 0.0f, 1.0f}) EXPECT_LT(learnt, cost(v)) << "v = " << v;
}

}  // namespace
}  // namespace diffscm
