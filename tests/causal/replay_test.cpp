// Steps recorded on emu give what plain execution gives, to the bit, and what the cpu target gives,
// to rounding.
#include "diffusion/replay.h"
#include "training/noisy_batches.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "causal/counterfactual.h"
#include "diffusion/abduction.h"
#include "diffusion/guidance.h"
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
    return EpsilonModel::recordable([this](const Tensor& x, const Tensor& t) {
      ++evaluations;
      return unet.predict(x, t);
    });
  }
  GuidanceGradient gradient() {
    const Tensor label = Tensor::from(std::vector<int64_t>{1, 2, 3}, {3}, target);
    return GuidanceGradient::recordable([this, label](const Tensor& x, const Tensor& t) {
      return classifier.log_p_gradient(x, t, label);
    });
  }
  Tensor images() const { return testing::random_tensor({3, 8, 8, 1}, 9, 0.5f).to(target); }
};

class ReplayTest : public ::testing::Test {
 protected:
  ~ReplayTest() override { set_step_recording(true); }

  // What `work` computes on emu, recorded; checked against plain execution and the cpu target.
  void expect_same(const std::function<Values(World&)>& work, int evaluations, float tolerance) {
    World emu(Target::emu), plain(Target::emu), cpu(Target::cpu);
    const Values recorded = work(emu);
    if (evaluations > 0) {
      EXPECT_EQ(emu.evaluations, evaluations);
    }
    set_step_recording(false);
    EXPECT_EQ(recorded, work(plain));
    set_step_recording(true);
    const Values expected = work(cpu);
    ASSERT_EQ(recorded.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i)
      ASSERT_NEAR(recorded[i], expected[i], tolerance * std::max(1.0f, std::abs(expected[i]))) << i;
  }
};

Values sampled(World& w, const SamplerOptions& options, bool guided) {
  const GuidanceGradient gradient = guided ? w.gradient() : GuidanceGradient();
  return sample(w.epsilon(), gradient, w.chain, 0, w.images(), options).to_vector();
}

TEST_F(ReplayTest, Ddim) {
  expect_same([](World& w) { return sampled(w, {}, false); }, 2, 1e-4f);
}
TEST_F(ReplayTest, GuidedDdim) {
  expect_same([](World& w) { return sampled(w, {.guidance_scale = 2}, true); }, 2, 1e-3f);
}
TEST_F(ReplayTest, ThresholdedDdim) {
  for (const Threshold kind : {Threshold::clip, Threshold::dynamic})
    expect_same([&](World& w) { return sampled(w, {.threshold = {.kind = kind}}, false); }, 2,
                1e-3f);
}
TEST_F(ReplayTest, SamplersWithNoiseReplayTheNetworksOnly) {
  expect_same([](World& w) { return sampled(w, {.kind = SamplerKind::ddpm, .seed = 5}, true); }, 2,
              1e-2f);
}
TEST_F(ReplayTest, ClassifierFreeGuidanceIsRecordable) {
  expect_same(
      [](World& w) {
        return sample(classifier_free(w.epsilon(), w.epsilon(), 0.5), {}, w.chain, 0, w.images(),
                      {})
            .to_vector();
      },
      4, 1e-4f);
}

TEST_F(ReplayTest, DdimAbduction) {
  expect_same(
      [](World& w) {
        return abduct(w.epsilon(), w.chain, w.images(), {.method = AbductionMethod::ddim})
            .latent.to_vector();
      },
      3, 1e-4f);  // level 1 as it is, then one warm-up and one recording
}

// At the first level, where the step is a contraction: elsewhere the iterations of an untrained
// network go where rounding sends them.
TEST_F(ReplayTest, FixedPointAbduction) {
  expect_same(
      [](World& w) {
        return abduct(w.epsilon(), w.chain, w.images(), {.levels = 1, .tolerance = 0.01})
            .latent.to_vector();
      },
      0, 1e-3f);
}

TEST_F(ReplayTest, BatchesOfAnySizeAreAnsweredImageByImage) {
  World w(Target::emu);
  const TimestepFunction replays = replayed(w.epsilon(), Target::emu, 3);
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

TEST_F(ReplayTest, Training) {
  for (const Dtype layers : {Dtype::f32, Dtype::bf16}) {
    SCOPED_TRACE(name_of(layers));
    const Trained recorded = trained(Target::emu, layers);
    EXPECT_EQ(recorded.calls, 2);
    set_step_recording(false);
    const Trained plain = trained(Target::emu, layers);
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

}  // namespace
}  // namespace diffscm
