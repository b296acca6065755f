// diffscm train diffusion|classifier: from a data set to model.safetensors.
#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/config.h"
#include "causal/noise_level_accuracy.h"
#include "causal/trainer.h"
#include "engine/io/file.h"
#include "engine/memory.h"
#include "models/classifier.h"
#include "models/unet.h"

namespace diffscm::apps {
namespace {

using nlohmann::json;

struct TrainFlags {
  std::string preset, data = "mnist", out, init;
  std::vector<std::string> overrides;
  int64_t steps = 0, batch = 0, checkpoint_every = 500, log_every = 20;
  double minutes = 0;
  bool resume = false;
};

template <class T>
T entry(const json& section, const std::string& where, const char* name) {
  require(section.is_object() && section.contains(name), "the configuration lacks {}.{}", where,
          name);
  try {
    return section.at(name).get<T>();
  } catch (const json::exception&) {
    fail("the configuration has an unusable {}.{} = {}", where, name, section.at(name).dump());
  }
}

const json& section(const json& config, const char* name) {
  require(config.contains(name), "the configuration lacks [{}]", name);
  return config.at(name);
}

TrainingOptions training_options(const json& config, const char* kind, const TrainFlags& flags,
                                 const Common& common) {
  const std::string where = fmt::format("train.{}", kind);
  require(config.contains("train") && config["train"].contains(kind),
          "the configuration lacks [{}]", where);
  const json& s = config["train"][kind];
  TrainingOptions o;
  o.steps = flags.steps > 0 ? flags.steps : entry<int64_t>(s, where, "steps");
  o.batch = flags.batch > 0 ? flags.batch : entry<int64_t>(s, where, "batch");
  o.seed = common.seed;
  o.adamw.lr = entry<double>(s, where, "lr");
  o.adamw.weight_decay = entry<double>(s, where, "weight_decay");
  o.adamw.ema_decay = entry<double>(s, where, "ema_decay");
  o.warmup_steps = entry<int64_t>(s, where, "warmup_steps");
  o.cosine_decay = entry<bool>(s, where, "cosine_decay");
  o.checkpoint_every = flags.checkpoint_every;
  o.log_every = flags.log_every;
  o.minutes = flags.minutes;
  o.resume = flags.resume;
  o.out = flags.out;
  require(o.steps >= 1 && o.batch >= 1 && o.warmup_steps >= 0,
          "{0}.steps {1} and {0}.batch {2} must be at least 1, {0}.warmup_steps {3} at least 0",
          where, o.steps, o.batch, o.warmup_steps);
  require(o.adamw.weight_decay >= 0 && std::isfinite(o.adamw.weight_decay),
          "{}.weight_decay is {}, must not be negative", where, o.adamw.weight_decay);
  require(o.adamw.lr > 0 && std::isfinite(o.adamw.lr), "{}.lr is {}, must be positive", where,
          o.adamw.lr);
  require(o.adamw.ema_decay >= 0 && o.adamw.ema_decay < 1, "{}.ema_decay is {}, must be in [0, 1)",
          where, o.adamw.ema_decay);
  return o;
}

NoiseSchedule noise_schedule(const json& config) {
  const json& s = section(config, "diffusion");
  return {parse_schedule_kind(entry<std::string>(s, "diffusion", "schedule")),
          entry<int>(s, "diffusion", "timesteps")};
}

template <class Model>
void check_fits(const typename Model::Config& config, const data::Dataset& dataset) {
  require(config.image_size == dataset.height && config.image_size == dataset.width &&
              config.in_channels == dataset.channels,
          "the configuration is for {0}x{0}x{1} images, {2} has {3}x{4}x{5}", config.image_size,
          config.in_channels, dataset.name, dataset.height, dataset.width, dataset.channels);
  if constexpr (std::is_same_v<Model, Classifier>) {
    require(!dataset.labels.empty(), "{} has no labels: a classifier needs them", dataset.name);
    require_labels(dataset.labels, config.classes);
  }
}

TrainingCallbacks callbacks(Common& common, const char* kind) {
  TrainingCallbacks c;
  c.progress = [&common, kind](const TrainingProgress& p) {
    common.console.progress(fmt::format("train {}", kind), static_cast<double>(p.step),
                            static_cast<double>(p.steps), p.eta_seconds,
                            fmt::format("step {} loss {:.4f} lr {:.2e} {:.0f} images/s", p.step,
                                        p.loss, p.lr, p.samples_per_second));
  };
  c.message = [&common](const std::string& line) { common.console.say(line); };
  c.stop = stop_requested;
  return c;
}

// The part that both kinds share: data, model, loop, and what the user is told at the end.
template <class Model>
void run(Common& common, const TrainFlags& flags, const char* kind, const json& config,
         const typename Model::Config& model_config,
         const std::function<Variable(Model&, const NoisyBatch&, ForwardContext&)>& loss,
         const std::function<json(Model&, const NoiseSchedule&)>& evaluate) {
  const TrainingOptions options = training_options(config, kind, flags, common);
  const NoiseSchedule schedule = noise_schedule(config);
  Chain(schedule, entry<int>(section(config, "diffusion"), "diffusion", "sampling_steps"));
  const data::Dataset dataset = data::load_dataset(flags.data, data::Split::train);
  check_fits<Model>(model_config, dataset);
  std::filesystem::create_directories(options.out);

  Model model(model_config, common.seed);
  model.set_precision(common.layers());
  json start;
  if (!flags.init.empty()) {
    const auto [info, state] = read_model(flags.init);
    require(info.kind == Model::kKind, "--init {} holds a {}, not a {}", flags.init, info.kind,
            Model::kKind);
    load_state(named_parameters(model), state);
    start = {{"sha256", info.sha256}, {"training", info.training}};
  }
  for (const auto& [name, p] : named_parameters(model))
    p->variable = Variable(p->variable.value().to(common.target()));
  TrainingTask task;
  task.parameters = named_parameters(model);
  task.loss = [&](const NoisyBatch& batch, ForwardContext& context) {
    return loss(model, batch, context);
  };
  task.info.kind = Model::kKind;
  task.info.config = model_config;
  task.info.diffusion = config["diffusion"];
  task.info.data = {{"name", dataset.name},       {"height", dataset.height},
                    {"width", dataset.width},     {"channels", dataset.channels},
                    {"classes", dataset.classes}, {"size", dataset.size()}};
  task.info.training = {{"command", common.command_line},
                        {"version", DIFFSCM_VERSION},
                        {"device", name_of(common.target())},
                        {"precision", common.precision},
                        {"options", config["train"][kind]}};
  task.info.training["options"]["steps"] = options.steps;
  task.info.training["options"]["batch"] = options.batch;
  if (!start.is_null()) task.info.training["started_from"] = start;
  common.console.say(fmt::format("{}: {} parameters, {} images of {}, {} steps of {}, on {}",
                                 Model::kKind, parameter_count(model), dataset.size(), dataset.name,
                                 options.steps, options.batch, name_of(common.target())));
  const NoisyBatches batches(dataset, schedule, options.batch, options.seed, common.target());
  TrainingCallbacks with = callbacks(common, kind);
  with.begin = [&] { io::atomic_write(options.out / "config.json", dump(config, 2) + "\n"); };
  const TrainingEnd end = train(task, batches, options, with);
  common.console.finish_progress();
  json summary = {{"out", options.out.string()},
                  {"peak_memory_mib", memory_statistics(common.target()).peak_bytes >> 20},
                  {"end", end == TrainingEnd::finished  ? "finished"
                          : end == TrainingEnd::stopped ? "stopped"
                                                        : "out of time"}};
  if (end == TrainingEnd::finished) {
    // Report on what is saved: the moving average.
    load_state(task.parameters, read_model(options.out).second);
    summary.update(evaluate(model, schedule));
    io::atomic_write(options.out / "evaluation.json", dump(summary, 2) + "\n");
  } else {
    common.console.say(
        fmt::format("{}: continue with --resume", summary["end"].get<std::string>()));
  }
  if (common.json) fmt::print("{}\n", dump(summary));
  common.console.say(fmt::format("model: {}", (options.out / "model.safetensors").string()));
  if (end == TrainingEnd::stopped) throw Stopped{};
}

void train_diffusion(Common& common, const TrainFlags& flags) {
  const json config = load_config(flags.preset, flags.overrides);
  run<UNet>(
      common, flags, "diffusion", config, section(config, "unet").get<UNetConfig>(),
      [](UNet& unet, const NoisyBatch& batch, ForwardContext& context) {
        return mse_loss(unet.forward(batch.x_t, batch.t, context), batch.noise);
      },
      [](UNet&, const NoiseSchedule&) { return json::object(); });
}

void train_classifier(Common& common, const TrainFlags& flags) {
  const json config = load_config(flags.preset, flags.overrides);
  const auto classifier_config = section(config, "classifier").get<ClassifierConfig>();
  run<Classifier>(
      common, flags, "classifier", config, classifier_config,
      [&](Classifier& classifier, const NoisyBatch& batch, ForwardContext& context) {
        return negate(log_softmax_at(classifier.forward(batch.x_t, batch.t, context), batch.label));
      },
      [&](Classifier& classifier, const NoiseSchedule& schedule) {
        const data::Dataset test = data::load_dataset(flags.data, data::Split::test);
        json levels = json::array();
        common.console.say(
            "accuracy by noise level, 1000 test images:\n     t  alpha_bar  accuracy");
        for (const NoiseLevelAccuracy& a :
             noise_level_accuracy(classifier, test, schedule, /*images=*/1000, /*levels=*/11,
                                  common.seed, common.target())) {
          common.console.say(
              fmt::format("{:6}  {:9.5f}  {:7.1f}%", a.timestep, a.alpha_bar, 100 * a.accuracy));
          levels.push_back(
              {{"timestep", a.timestep}, {"alpha_bar", a.alpha_bar}, {"accuracy", a.accuracy}});
        }
        return json{{"accuracy_by_noise_level", levels}};
      });
}

void add_flags(CLI::App* command, TrainFlags& flags) {
  command->add_option("--preset", flags.preset, "mnist-fast, mnist-paper, tiny, or a TOML file")
      ->required();
  command->add_option("--set", flags.overrides, "change a configuration entry: a.b=value")
      ->allow_extra_args(false);
  command
      ->add_option("--data", flags.data, "mnist, digits, a folder of IDX or PNG files, or an .npz")
      ->capture_default_str();
  command->add_option("--out", flags.out, "the run's folder")->required();
  command->add_option("--init", flags.init,
                      "start from this model's weights, not from random ones");
  command->add_option("--steps", flags.steps, "optimiser steps (default: the preset's)")
      ->check(CLI::PositiveNumber);
  command->add_option("--batch", flags.batch, "images per step (default: the preset's)")
      ->check(CLI::PositiveNumber);
  command->add_option("--minutes", flags.minutes, "stop after this long; --resume continues")
      ->check(CLI::PositiveNumber);
  command->add_option("--checkpoint-every", flags.checkpoint_every, "steps between checkpoints")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--log-every", flags.log_every, "steps between log lines")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag("--resume", flags.resume, "continue the run in --out");
}

}  // namespace

void add_train(CLI::App& app, Common& common) {
  CLI::App* command = app.add_subcommand("train", "Train a diffusion model or a noisy classifier");
  command->require_subcommand(1);
  const auto add = [&](const char* name, const char* help,
                       void (*work)(Common&, const TrainFlags&)) {
    CLI::App* leaf = command->add_subcommand(name, help);
    auto flags = std::make_shared<TrainFlags>();
    add_flags(leaf, *flags);
    leaf->callback([&common, flags, work] { work(common, *flags); });
  };
  add("diffusion", "Train the U-Net that predicts the noise", train_diffusion);
  add("classifier", "Train the anti-causal predictor on noisy images", train_classifier);
}

}  // namespace diffscm::apps
