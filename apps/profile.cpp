// diffscm profile: what a profiler would say of a job on a GPU, with times that are predicted
// instead of measured, from the CUDA device in software (docs/kernels/softgpu.md).
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>

#include "apps/config.h"
#include "apps/networks.h"
#include "apps/shipped_models.h"
#include "apps/training.h"
#include "autograd/adamw.h"
#include "diffusion/abduction.h"
#include "diffusion/anti_causal_predictor.h"
#include "diffusion/replay.h"
#include "diffusion/sampler.h"
#include "diffusion/walk.h"
#include "engine/captured_step.h"
#include "kernels/softgpu/profiling.h"
#include "models/unsettle.h"

namespace diffscm::apps {
namespace {

using nlohmann::json;

struct Flags {
  std::string model = "mnist-fast", classifier, job = "forward", machine;
  int64_t batch = 16;
  bool lines = false, timeline = false;
  template <class V>
  void visit(V&& flag) {
    flag("model", &model,
         "diffusion model: a preset, with random weights, a file, a run's folder or a shipped "
         "model's name",
         {.value = presets_with("unet")});
    flag("classifier", &classifier, "guides the step",
         {.otherwise = "the preset's, or the only one beside the model", .model = true});
    flag("job", &job,
         "an evaluation of the network, a guided DDIM step, a training step, or a level of exact "
         "abduction",
         {.choices = {"forward", "step", "train", "abduct"}});
    flag("batch", &batch, "images", {.least = 1, .most = 1e6});
    flag("machine", &machine, "the GPU to predict for",
         {.choices = {"h100", "h200", "a100"}, .otherwise = "DIFFSCM_SOFTGPU's, else h100"});
    flag("lines", &lines, "also the source lines that take most instructions");
    flag("timeline", &timeline, "also every launch, one after the other");
  }
};

// Before any device is asked for: which GPU it is to be.
void choose_machine(const Common& common, const Flags& flags) {
  if (softgpu::profiling() == nullptr)
    fail(
        "profile needs the CUDA device in software: run build/bin/diffscm-softgpu, which a build "
        "with nvcc makes (docs/kernels/softgpu.md)");
  if (!common.device.empty() && common.device != "cuda")
    throw UsageError(fmt::format("profile is of --device cuda, not {}", common.device));
  std::string name = flags.machine;
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::toupper(c); });
  if (!name.empty()) ::setenv("DIFFSCM_SOFTGPU", name.c_str(), 1);
}

template <class Model>
LoadedModel<Model> untrained(const json& config, const char* name, const Common& common) {
  LoadedModel<Model> loaded{Model(section(config, name).get<typename Model::Config>(), common.seed),
                            {}};
  loaded.info.kind = Model::kKind;
  loaded.info.path = "random weights";
  loaded.info.diffusion = section(config, "diffusion");
  unsettle(variables(loaded.model), common.seed);
  for (Variable* v : variables(loaded.model)) *v = Variable(v->value().to(common.target()));
  loaded.model.set_precision(common.layers());
  return loaded;
}

// What a job works with.
class Networks {
 public:
  Networks(const Common& common, const Flags& flags) : common_(common), flags_(flags) {
    if (presets().contains(flags.model))
      config_ = load_config(flags.model, {});
    else
      path_ = find_model(flags.model);
  }

  LoadedModel<UNet> unet() const {
    return config_.empty() ? load_model<UNet>(path_, common_.target(), common_.layers())
                           : untrained<UNet>(config_, "unet", common_);
  }
  DiffusionModel diffusion() const {
    return DiffusionModel(unet(), common_.target(), /*steps=*/0, common_.layers());
  }
  AntiCausalPredictor predictor(const DiffusionModel& model) const {
    if (config_.empty() || !flags_.classifier.empty())
      return AntiCausalPredictor(
          config_.empty() ? NetworkFolder("", model.info()).find(flags_.classifier, "classifier")
                          : flags_.classifier,
          model);
    return AntiCausalPredictor(untrained<Classifier>(config_, "classifier", common_), model);
  }

 private:
  const Common& common_;
  const Flags& flags_;
  json config_;  // of a preset; else null
  std::string path_;
};

// Calls work() twice: the first time what is recorded later runs as it is, prepares weights
// and fills the L2; the second time is what the profile shows.
template <class F>
void profiled(Target target, F&& work) {
  const softgpu::Profiling& profile = *softgpu::profiling();
  const auto idle = [&] { runtime(target).synchronize({}); };
  idle();
  profile.begin();
  work();
  idle();
  profile.forget();
  work();
  idle();
  profile.end();
}

void forward(const Common& common, const Flags& flags, const Networks& networks) {
  const DiffusionModel model = networks.diffusion();
  const Tensor x = initial_noise(model.image_shape(flags.batch), {}, common.seed, model.target());
  const Tensor t = Tensor::full({flags.batch}, 500, model.target());
  const EpsilonModel epsilon = replayed(model.epsilon(), model.target(), flags.batch);
  profiled(model.target(), [&] { epsilon(x, t); });
}

void step(const Common& common, const Flags& flags, const Networks& networks) {
  const DiffusionModel model = networks.diffusion();
  const AntiCausalPredictor predictor = networks.predictor(model);
  predictor.require_classifier("--classifier");
  std::vector<int64_t> classes(static_cast<size_t>(flags.batch));
  for (size_t i = 0; i < classes.size(); ++i)
    classes[i] = static_cast<int64_t>(i) % predictor.classes();
  const Guidance guidance{.gradients = {{predictor.gradient(classes), 1}}};
  const Tensor x = initial_noise(model.image_shape(flags.batch), {}, common.seed, model.target());
  const int top = model.chain().levels();
  require(top >= 2, "{}: a chain of one level has no steps to compare", flags.model);
  DdimWalk walk(Denoiser(model.epsilon(), guidance), model.chain(),
                {{top, top - 1, top}, {top - 1, top - 2, top - 1}}, x);
  profiled(model.target(), [&] { walk.step(); });
}

void train_step(const Common& common, const Flags& flags, const Networks& networks) {
  UNet unet = std::move(networks.unet().model);
  const UNetConfig& c = unet.config();
  const Target target = common.target();
  const Shape shape{flags.batch, c.image_size, c.image_size, c.in_channels};
  const Tensor x = initial_noise(shape, {}, common.seed, target),
               noise = initial_noise(shape, {}, common.seed + 1, target),
               t = Tensor::full({flags.batch}, 500, target);
  Tensor number({1}, target, Dtype::u32);
  Adamw optimiser(variables(unet), {.ema_decay = 0.9999});
  CapturedStep recorded(target, [&] {
    ForwardContext context;
    context.training = true;
    context.step_at = number.data<uint32_t>();
    const Variable loss = mse_loss(unet.forward(x, t, context), noise);
    backward(loss, Tensor::constant(loss.shape(), 1 / static_cast<float>(flags.batch), target));
    optimiser.apply_gradients();
  });
  uint32_t steps = 0;
  profiled(target, [&] {
    number.copy_from(Tensor::from(std::array{steps++}, {1}));
    optimiser.begin_step();
    recorded.run();
  });
}

void abduct_level(const Common& common, const Flags& flags, const Networks& networks) {
  const DiffusionModel model = networks.diffusion();
  const Tensor x = initial_noise(model.image_shape(flags.batch), {}, common.seed, model.target());
  // The last of three: the first records, and each starts from what the ones before have learnt.
  constexpr int kLevels = 3;
  require(model.chain().levels() >= kLevels, "{}: the chain has fewer than {} levels", flags.model,
          kLevels);
  const softgpu::Profiling& profile = *softgpu::profiling();
  profile.begin();
  abduct(model.epsilon(), {}, model.chain(), x,
         {.method = AbductionMethod::fixed_point, .levels = kLevels}, {},
         [&](int level, const Tensor&) {
           runtime(model.target()).synchronize({});
           if (level < kLevels) profile.forget();
         });
  profile.end();
}

void run(Common& common, Flags flags) {
  const Networks networks(common, flags);
  const auto job = flags.job == "forward" ? forward
                   : flags.job == "step"  ? step
                   : flags.job == "train" ? train_step
                                          : abduct_level;
  common.console.say(
      fmt::format("{} of {}, {} images, {}, on a GPU in software: this takes a while", flags.job,
                  flags.model, flags.batch, common.precision));
  job(common, flags, networks);
  const softgpu::Profiling& profile = *softgpu::profiling();
  if (common.json) {
    fmt::print("{}", profile.json());
    return;
  }
  constexpr size_t kLines = 40;
  fmt::print("{}", profile.kernels());
  if (flags.lines) fmt::print("\n{}", profile.lines(kLines));
  if (flags.timeline) fmt::print("\n{}", profile.timeline());
}

}  // namespace

void add_profile(CLI::App& app, Common& common) {
  const auto flags = std::make_shared<Flags>();
  CLI::App& command =
      add_subcommand(app, "profile", "Predict how a GPU would spend its time on a job, without one",
                     [&common, flags] { run(common, *flags); });
  flags->visit(FlagDeclarer(command));
  command.parse_complete_callback([&common, flags] { choose_machine(common, *flags); });
}

}  // namespace diffscm::apps
