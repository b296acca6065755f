// What networks need: told by a dry run, and less when stages are computed again.
#include "engine/memory.h"

#include <gtest/gtest.h>

#include "engine/dry_run.h"
#include "models/memory_estimate.h"
#include "tests/models/tiny_models.h"

namespace diffscm {
namespace {

UNetConfig deep_config() {
  UNetConfig c;
  c.image_size = 16;
  c.channel_mult = {1, 2, 2};
  c.num_res_blocks = 2;
  c.attention_downsample = {2};
  c.resblock_updown = true;
  return c;
}

template <class F>
int64_t peak(const F& work) {
  release_cached_memory(Target::cpu);
  reset_peak_memory(Target::cpu);
  work();
  return memory_statistics(Target::cpu).peak_bytes;
}

void train_once(UNet& unet, const Tensor& x, bool recompute) {
  testing::want_gradients(unet);
  ForwardContext context;
  context.training = true;
  context.recompute = recompute;
  const Variable loss = mse_loss(unet.forward(x, Tensor({x.dim(0)}, x.target()), context), x);
  backward(loss, Tensor::constant(loss.shape(), 1, x.target()));
}

TEST(Memory, OfADryRunIsThatOfTheRealOne) {
  UNet unet(deep_config(), 1);
  const Tensor x = testing::random_tensor({4, 16, 16, 1}, 1);
  train_once(unet, x, false);  // weights are packed once, for both directions
  for (const bool recompute : {false, true}) {
    const int64_t real = peak([&] { train_once(unet, x, recompute); });
    const int64_t dry = peak([&] {
      const DryRun run;
      train_once(unet, x, recompute);
    });
    EXPECT_EQ(dry, real) << recompute;
  }
}

TEST(Memory, OfADryRunIsNotWrittenTo) {
  const Tensor x = Tensor::zeros({8});
  {
    const DryRun run;
    const Tensor y = add(x, Tensor::full({8}, 1));
    Tensor z = Tensor::zeros({8});
    z.copy_from(y);
    EXPECT_EQ(z.to_vector(), std::vector<float>(8, 0));
  }
  EXPECT_EQ(add(x, Tensor::full({8}, 1)).to_vector(), std::vector<float>(8, 1));
}

// What the cuda target takes, found without a device, is what emu takes when it computes.
TEST(Memory, OfADeviceIsFoundWithoutIt) {
  UNetConfig config;
  config.image_size = 8;
  config.channel_mult = {1, 2};
  const Tensor x = testing::random_tensor({2, 8, 8, 1}, 1).to(Target::emu);
  for (const Dtype layers : {Dtype::f32, Dtype::bf16}) {
    SCOPED_TRACE(name_of(layers));
    const MemoryEstimate found = estimate_memory(config, 2, Target::cuda, layers);
    UNet unet(config, 1);
    for (const auto& [name, p] : named_parameters(unet))
      p->variable = Variable(p->variable.value().to(Target::emu));
    unet.set_precision(layers);
    const auto expect_held = [&](double bytes, auto&& work) {
      release_cached_memory(Target::emu);
      reset_peak_memory(Target::emu);
      work();
      EXPECT_NEAR(memory_statistics(Target::emu).peak_held_bytes, bytes, 0.05 * bytes);
      for (const auto& [name, p] : named_parameters(unet)) p->variable.clear_gradient();
    };
    expect_held(found.evaluation, [&] { unet.predict(x, Tensor::full({2}, 3, Target::emu)); });
    const double optimiser = 4 * found.weights;
    expect_held(found.training_recompute - optimiser, [&] { train_once(unet, x, true); });
    expect_held(found.training - optimiser, [&] { train_once(unet, x, false); });
  }
}

TEST(Memory, StagesComputedAgainNeedLess) {
  UNetConfig config;
  config.image_size = 16;
  config.channel_mult = {1};
  config.num_res_blocks = 4;
  UNet unet(config, 1);
  const Tensor x = testing::random_tensor({16, 16, 16, 1}, 1);
  const int64_t kept = peak([&] { train_once(unet, x, false); }),
                again = peak([&] { train_once(unet, x, true); });
  EXPECT_LT(again, 0.7 * kept);
}

// As many parameters as a file with 100 GB: names and shapes alone take nothing.
TEST(Memory, ShapesTakeNone) {
  UNetConfig config;
  config.image_size = 64;
  config.model_channels = 2048;
  config.channel_mult = {1, 2, 4};
  const int64_t before = memory_statistics(Target::cpu).in_use_bytes;
  UNet shapes(config, ShapesOnly{});
  EXPECT_GT(parameter_count(shapes), int64_t{5'000'000'000});
  EXPECT_LT(memory_statistics(Target::cpu).in_use_bytes - before, 4 << 20);
  EXPECT_THROW(shapes.predict(Tensor({1, 64, 64, 1}), 0), Error);
}

}  // namespace
}  // namespace diffscm
