// Steps recorded on any target that records give what plain execution gives, to the bit, and what
// the cpu target gives, to rounding.
#include "diffusion/replay.h"
#include "training/noisy_batches.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "causal/counterfactual.h"
#include "diffusion/abduction.h"
#include "diffusion/sampler.h"
#include "engine/captured_step.h"
#include "engine/io/safetensors.h"
#include "kernels/softgpu/profiling.h"
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

// Where progress is shown the device is waited for now and then, not after each level: in between
// nothing has to be done yet.
TEST_P(ReplayTest, ProgressDoesNotWaitAtEachLevel) {
  const softgpu::Profiling* device = softgpu::profiling();
  if (GetParam() != Target::cuda || device == nullptr)
    GTEST_SKIP() << "only the device in software says what has been done";
  World w(GetParam());
  const Chain chain(w.schedule, 20);
  std::map<int, size_t> launches;
  device->begin();
  sample(w.epsilon(), {}, chain, 0, w.images(), {}, {}, [&](int done, int) {
    launches[done] = nlohmann::json::parse(device->json())["launches"].size();
  });
  device->end();
  for (int done = 9; done < 16; ++done) EXPECT_EQ(launches[done], launches[8]) << done;
  EXPECT_GT(launches[8], 0u);
  EXPECT_GT(launches[16], launches[8]);
  EXPECT_GT(launches[20], launches[16]);
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

// What is recorded is kept for the next call of the same networks: with other images, other levels
// and other values bound to the networks, the host is not involved again.
class KeptTest : public ReplayTest {
 protected:
  // Of work(network, told what, images of a seed, steps of the chain).
  using Work = std::function<Values(World&, const EpsilonModel::Network&, float, uint64_t, int)>;
  void expect_kept(const Work& work, int evaluations) {
    World recording(GetParam()), plain(GetParam());
    const auto network = recording.conditional_network(), other = plain.conditional_network();
    for (int round = 0; round < 2; ++round) {
      const float told = 0.1f * static_cast<float>(round);
      const auto seed = static_cast<uint64_t>(round);
      const Values recorded = work(recording, network, told, seed, 3 + round);
      if (evaluations > 0) {
        EXPECT_EQ(recording.evaluations, evaluations) << "round " << round;
      }
      set_step_recording(false);
      EXPECT_EQ(recorded, work(plain, other, told, seed, 3 + round)) << "round " << round;
      set_step_recording(true);
    }
    EXPECT_LT(recording.evaluations, plain.evaluations / 2);
  }
  Tensor images(uint64_t seed) const {
    return testing::random_tensor({3, 8, 8, 1}, seed, 0.5f).to(GetParam());
  }
};

TEST_P(KeptTest, Walks) {
  expect_kept(
      [&](World& w, const auto& network, float told, uint64_t seed, int steps) {
        const Chain chain(w.schedule, steps);
        return sample(w.told(network, {0, 0, 0}),
                      {.conditions = {{w.told(network, {told, -told, 0.3f}), 2}}}, chain, 0,
                      images(seed), {})
            .to_vector();
      },
      2);
}

TEST_P(KeptTest, EvaluationsOfSamplersWithNoise) {
  expect_kept(
      [&](World& w, const auto& network, float told, uint64_t seed, int steps) {
        return sample(w.told(network, {told, 0, -told}), {}, Chain(w.schedule, steps), 0,
                      images(seed), {.kind = SamplerKind::ddpm, .seed = seed})
            .to_vector();
      },
      2);
}

TEST_P(KeptTest, EvaluationsOfFixedPointAbduction) {
  expect_kept(
      [&](World& w, const auto& network, float told, uint64_t seed, int) {
        const Abduction u = abduct(w.told(network, {told, 0, -told}), {}, Chain(w.schedule, 50),
                                   images(seed), {.levels = 2, .tolerance = 0.01});
        return u.latent.to_vector();
      },
      0);
}

// The images of one call are not those of the next.
TEST_P(KeptTest, ResultsAreTheCallersOwn) {
  World w(GetParam());
  const auto network = w.conditional_network();
  const auto sampled = [&](uint64_t seed) {
    return sample(w.told(network, {0, 0, 0}), {}, w.chain, 0, images(seed), {});
  };
  const Tensor first = sampled(1);
  const Values before = first.to_vector();
  sampled(2);
  EXPECT_EQ(first.to_vector(), before);
  const AbductionOptions ddim{.method = AbductionMethod::ddim};
  const Abduction u = abduct(w.told(network, {0, 0, 0}), {}, w.chain, first, ddim);
  const Values latent = u.latent.to_vector();
  abduct(w.told(network, {0, 0, 0}), {}, w.chain, images(2), ddim);
  EXPECT_EQ(u.latent.to_vector(), latent);
}

// One recording serves all scales of one condition and one gradient. Those of several conditions,
// or of one whose threshold depends on it, are within the recording; both are kept.
TEST_P(KeptTest, ScalesShareARecording) {
  const auto expect_evaluations = [&](int conditions, Threshold threshold, int evaluations) {
    World w(GetParam()), plain(GetParam());
    const auto network = w.conditional_network(), other = plain.conditional_network();
    const auto gradient = w.gradient(), other_gradient = plain.gradient();
    const auto work = [&](World& world, const auto& of, const auto& pull, double scale) {
      Guidance guidance{.gradients = {{pull, 0.5 * scale}}};
      for (int i = 0; i < conditions; ++i)
        guidance.conditions.push_back(
            {world.told(of, {1, 2, 3.0f + static_cast<float>(i)}), scale});
      return sample(world.told(of, {0, 0, 0}), guidance, Chain(world.schedule, 3), 0, images(1),
                    {.threshold = {.kind = threshold}})
          .to_vector();
    };
    std::set<Values> different;
    for (const double scale : {2.0, 3.0, 2.0, 3.0}) {
      const Values recorded = work(w, network, gradient, scale);
      set_step_recording(false);
      EXPECT_EQ(recorded, work(plain, other, other_gradient, scale)) << scale;
      set_step_recording(true);
      different.insert(recorded);
    }
    EXPECT_EQ(different.size(), 2u);
    EXPECT_EQ(w.evaluations, evaluations) << conditions << " " << static_cast<int>(threshold);
  };
  expect_evaluations(1, Threshold::none, 2);
  expect_evaluations(2, Threshold::none, 4);
  expect_evaluations(1, Threshold::dynamic, 4);
}

// Weights that changed since are what is used.
TEST_P(KeptTest, ChangedWeightsAreSeen) {
  World w(GetParam());
  const auto network = w.conditional_network();
  const auto sampled = [&] {
    return sample(w.told(network, {0, 0, 0}), {}, w.chain, 0, images(1), {}).to_vector();
  };
  const Values before = sampled();
  for (const auto& [name, p] : named_parameters(w.unet))
    p->variable.mutable_value().copy_from(
        testing::random_tensor(p->variable.value().shape(), 5, 0.1f).to(GetParam()));
  const Values recorded = sampled();
  EXPECT_NE(recorded, before);
  set_step_recording(false);
  EXPECT_EQ(recorded, sampled());
}

// A network that is gone takes its recordings with it, also from one at the same address.
TEST_P(KeptTest, NetworksThatAreGoneAreNotAsked) {
  for (int round = 0; round < 3; ++round) {
    World w(GetParam());
    const auto network = w.conditional_network();
    sample(w.told(network, {0, 0, 0}), {}, w.chain, 0, images(1), {});
    EXPECT_EQ(w.evaluations, 2);
  }
}

TEST_P(KeptTest, AreGivenUpWhenMemoryRunsShort) {
  World w(GetParam());
  const auto network = w.conditional_network();
  for (int round = 1; round <= 2; ++round) {
    sample(w.told(network, {0, 0, 0}), {}, w.chain, 0, images(1), {});
    EXPECT_EQ(w.evaluations, 2 * round);
    EXPECT_THROW(Tensor({int64_t{1} << 50}, GetParam()), Error);
  }
}

// A network that leaves something behind is asked again in each call.
TEST_P(KeptTest, TracesAreLeftInEachCall) {
  World w(GetParam());
  const auto network = w.conditional_network();
  for (int round = 1; round <= 2; ++round) {
    sample(w.told(network, {0, 0, 0}).with_traces(), {}, w.chain, 0, images(1), {});
    EXPECT_EQ(w.evaluations, 2 * round);
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, KeptTest, ::testing::ValuesIn(recorders()),
                         [](const auto& info) { return std::string(name_of(info.param)); });
INSTANTIATE_TEST_SUITE_P(Targets, ReplayTest, ::testing::ValuesIn(recorders()),
                         [](const auto& info) { return std::string(name_of(info.param)); });

}  // namespace
}  // namespace diffscm
