// Steps recorded on any target that records give what plain execution gives, to the bit, and what
// the cpu target gives, to rounding.
#include "diffusion/replay.h"
#include "training/noisy_batches.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "causal/counterfactual.h"
#include "diffusion/abduction.h"
#include "diffusion/sampler.h"
#include "engine/captured_step.h"
#include "engine/io/safetensors.h"
#include "tests/engine/io_testing.h"
#include "tests/models/tiny_models.h"
#include "training/trainer.h"

namespace diffscm {
namespace {

using Values = std::vector<float>;
using kernels::Threshold;

// Small networks on one target.
struct World {
  Target target;
  UNet unet{testing::tiny_unet_config(), 3};
  Classifier classifier{testing::tiny_classifier_config(), 4};
  NoiseSchedule schedule{ScheduleKind::linear, 1000};
  Chain chain{schedule, 4};
  int evaluations = 0;  // in which the host was involved

  explicit World(Target target) : target(target) {
    testing::randomise(unet);
    testing::randomise(classifier);
    for (const auto& parameters : {named_parameters(unet), named_parameters(classifier)})
      for (const auto& [name, p] : parameters)
        p->variable = Variable(p->variable.value().to(target));
  }
  EpsilonModel epsilon() {
    return EpsilonModel::recordable(
        [this](const Tensor& x, const Tensor& t, const EpsilonModel::Bound&) {
          ++evaluations;
          return unet.predict(x, t);
        });
  }
  GuidanceGradient gradient() {
    const Tensor label = Tensor::from(std::vector<int64_t>{1, 2, 3}, {3}, target);
    return GuidanceGradient::recordable(
        [this](const Tensor& x, const Tensor& t, const GuidanceGradient::Bound& bound) {
          return classifier.log_p_gradient(x, t, bound[0]);
        },
        {label});
  }
  // An eps that is told a number per image: the network's, of images that much brighter.
  EpsilonModel told(const EpsilonModel::Network& network, const Values& values) const {
    return EpsilonModel::recordable(network, {Tensor::from(values, {3, 1}, target)});
  }
  EpsilonModel::Network conditional_network() {
    return std::make_shared<const EpsilonModel::Body>(
        [this](const Tensor& x, const Tensor& t, const EpsilonModel::Bound& bound) {
          ++evaluations;
          const int64_t n = x.dim(0), elements = x.numel() / n;
          Tensor shifted(x.shape(), x.target());
          const Tensor one = Tensor::constant({n}, 1, x.target()),
                       ones = Tensor::constant(x.shape(), 1, x.target());
          operators(x.target())
              .combine_samples({.n = n,
                                .elements = elements,
                                .a = one.data(),
                                .x = x.data(),
                                .b = bound[0].data(),
                                .z = ones.data(),
                                .y = shifted.mutable_data()});
          return unet.predict(shifted, t);
        });
  }
  Tensor images() const { return testing::random_tensor({3, 8, 8, 1}, 9, 0.5f).to(target); }
};

std::vector<Target> recorders() {
  std::vector<Target> targets = available_targets();
  std::erase_if(targets, [](Target target) { return !records_steps(target); });
  return targets;
}

// On each of them.
class ReplayTest : public ::testing::TestWithParam<Target> {
 protected:
  ~ReplayTest() override { set_step_recording(true); }

  // What `work` computes, recorded; checked against plain execution to the bit, and against the cpu
  // target where `tolerance` is given. `evaluations`: how often the host is involved; 0: not
  // checked.
  void expect_same(const std::function<Values(World&)>& work, int evaluations, float tolerance) {
    World recording(GetParam()), plain(GetParam());
    const Values recorded = work(recording);
    if (evaluations > 0) {
      EXPECT_EQ(recording.evaluations, evaluations);
    }
    set_step_recording(false);
    EXPECT_EQ(recorded, work(plain));
    set_step_recording(true);
    EXPECT_LE(recording.evaluations, plain.evaluations);
    if (tolerance == 0) return;
    World cpu(Target::cpu);
    const Values expected = work(cpu);
    ASSERT_EQ(recorded.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i)
      ASSERT_NEAR(recorded[i], expected[i], tolerance * std::max(1.0f, std::abs(expected[i]))) << i;
  }
};

Values sampled(World& w, const SamplerOptions& options, double scale) {
  return sample(w.epsilon(), {.gradients = {{w.gradient(), scale}}}, w.chain, 0, w.images(),
                options)
      .to_vector();
}

TEST_P(ReplayTest, Ddim) {
  expect_same([](World& w) { return sampled(w, {}, 0); }, 2, 1e-4f);
}
TEST_P(ReplayTest, GuidedDdim) {
  expect_same([](World& w) { return sampled(w, {}, 2); }, 2, 1e-3f);
}
TEST_P(ReplayTest, ThresholdedDdim) {
  for (const Threshold kind : {Threshold::clip, Threshold::dynamic})
    expect_same([&](World& w) { return sampled(w, {.threshold = {.kind = kind}}, 0); }, 2, 1e-3f);
}
TEST_P(ReplayTest, SamplersWithNoiseReplayTheNetworksOnly) {
  expect_same([](World& w) { return sampled(w, {.kind = SamplerKind::ddpm, .seed = 5}, 1); }, 2,
              1e-2f);
}
// One evaluation for both, of the doubled batch: one warm-up and one recording.
TEST_P(ReplayTest, ImplicitGuidance) {
  for (const Threshold kind : {Threshold::none, Threshold::dynamic})
    expect_same(
        [&](World& w) {
          const auto network = w.conditional_network();
          return sample(w.told(network, {0, 0, 0}),
                        {.conditions = {{w.told(network, {0.3f, -0.2f, 0.1f}), 2}}}, w.chain, 0,
                        w.images(), {.threshold = {.kind = kind}})
              .to_vector();
        },
        2, 1e-3f);
}

TEST_P(ReplayTest, DdimAbduction) {
  for (const Threshold kind : {Threshold::none, Threshold::clip})
    expect_same(
        [&](World& w) {
          return abduct(w.epsilon(), {}, w.chain, w.images(),
                        {.method = AbductionMethod::ddim, .threshold = {.kind = kind}})
              .latent.to_vector();
        },
        3, 1e-3f);  // level 1 as it is, then one warm-up and one recording
}

// At the first level, where the step is a contraction: elsewhere the iterations of an untrained
// network go where rounding sends them, and only the same target can say the same.
TEST_P(ReplayTest, FixedPointAbduction) {
  expect_same(
      [](World& w) {
        return abduct(w.epsilon(), {}, w.chain, w.images(), {.levels = 1, .tolerance = 0.01})
            .latent.to_vector();
      },
      0, 1e-3f);
}

// Images leave the batch at different times, level after level, and what is bound to those that
// stay moves with them in the recordings' memory.
TEST_P(ReplayTest, FixedPointAbductionWithWhatIsBoundToImages) {
  expect_same(
      [](World& w) {
        const auto network = w.conditional_network();
        const Abduction u = abduct(w.told(network, {0, 0.1f, 0}),
                                   {.gradients = {{w.gradient(), 0.5}},
                                    .conditions = {{w.told(network, {0.3f, -0.2f, 0.1f}), 2}}},
                                   Chain(w.schedule, 50), w.images(),
                                   {.levels = 3, .tolerance = 0.002, .max_iterations = 12});
        EXPECT_GT(std::set<int>(u.evaluations.begin(), u.evaluations.end()).size(), 1u)
            << ::testing::PrintToString(u.evaluations);
        Values all = u.latent.to_vector();
        all.insert(all.end(), u.residual.begin(), u.residual.end());
        for (const int e : u.evaluations) all.push_back(static_cast<float>(e));
        return all;
      },
      0, 0);
}

TEST_P(ReplayTest, BatchesOfAnySizeAreAnsweredImageByImage) {
  World w(GetParam());
  const TimestepFunction replays = replayed(w.epsilon(), GetParam(), 3);
  const Tensor x = w.images();
  const Values all = w.epsilon()(x, 70).to_vector();
  for (int round = 0; round < 3; ++round)
    for (int64_t n = 1; n <= 3; ++n) {
      const Values some = replays(x.slice(3 - n, 3), 70).to_vector();
      EXPECT_EQ(some, Values(all.end() - n * 64, all.end())) << n << " images";
    }
}

data::Dataset dark_images() {
  data::Dataset d;
  d.name = "dark";
  d.height = d.width = 8;
  d.channels = 1;
  d.classes = 10;
  for (int64_t i = 0; i < 12 * 64; ++i)
    d.pixels.push_back(-0.9f + 0.1f * static_cast<float>(i % 7));
  for (int64_t i = 0; i < 12; ++i) d.labels.push_back(i % 10);
  return d;
}

struct Trained {
  Values parameters, losses;
  int calls = 0;
};

Trained trained(Target target, Dtype layers) {
  const testing::TemporaryFolder folder;
  const data::Dataset dataset = dark_images();
  const NoiseSchedule schedule(ScheduleKind::linear, 100);
  UNetConfig config = testing::tiny_unet_config();
  config.dropout = 0.1;
  UNet unet(config, 1);
  unet.set_precision(layers);
  for (const auto& [name, p] : named_parameters(unet))
    p->variable = Variable(p->variable.value().to(target));
  Trained result;
  TrainingTask task;
  task.parameters = named_parameters(unet);
  task.loss = [&](const TrainingBatch& batch, ForwardContext& context) {
    ++result.calls;
    return mse_loss(unet.forward(batch[0], batch[1], context), batch[2]);
  };
  task.info.kind = UNet::kKind;
  task.info.config = config;
  task.info.diffusion = task.info.data = task.info.training = nlohmann::json::object();
  TrainingOptions options;
  options.steps = 5;
  options.batch = 2;
  options.adamw.lr = 1e-3;
  options.warmup_steps = 2;
  options.log_every = 2;
  options.checkpoint_every = 3;
  options.out = folder / "run";
  TrainingCallbacks callbacks;
  callbacks.begin = [] {};
  callbacks.message = [](const std::string&) {};
  callbacks.progress = [&](const TrainingProgress& p) {
    result.losses.push_back(static_cast<float>(p.loss));
    result.losses.push_back(static_cast<float>(p.gradient_rms));
  };
  callbacks.stop = [] { return false; };
  const NoisyBatches batches(dataset, schedule, options.batch, options.seed, target);
  task.batch = [&](int64_t step) {
    const NoisyBatch b = batches.batch(step);
    return TrainingBatch{b.x_t, b.t, b.noise};
  };
  train(task, options, callbacks);
  result.parameters =
      io::read_safetensors(options.out / "checkpoint.safetensors").tensors.at("values").to_vector();
  return result;
}

TEST_P(ReplayTest, Training) {
  for (const Dtype layers : {Dtype::f32, Dtype::bf16}) {
    SCOPED_TRACE(name_of(layers));
    const Trained recorded = trained(GetParam(), layers);
    EXPECT_EQ(recorded.calls, 2);
    set_step_recording(false);
    const Trained plain = trained(GetParam(), layers);
    set_step_recording(true);
    EXPECT_EQ(plain.calls, 5);
    EXPECT_EQ(recorded.losses, plain.losses);
    EXPECT_EQ(recorded.parameters, plain.parameters);
    const Trained cpu = trained(Target::cpu, Dtype::f32);
    ASSERT_EQ(cpu.losses.size(), recorded.losses.size());
    const float tolerance = layers == Dtype::f32 ? 1e-3f : 3e-2f;
    for (size_t i = 0; i < cpu.losses.size(); ++i)
      EXPECT_NEAR(recorded.losses[i], cpu.losses[i], tolerance * std::abs(cpu.losses[i]));
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, ReplayTest, ::testing::ValuesIn(recorders()),
                         [](const auto& info) { return std::string(name_of(info.param)); });

}  // namespace
}  // namespace diffscm
