#include "apps/training.h"

#include <fmt/format.h>

#include <cmath>

#include "engine/memory.h"

namespace diffscm::apps {

using nlohmann::json;

void add_train_flags(CLI::App* command, TrainFlags& flags, const char* presets) {
  command->add_option("--preset", flags.preset, presets)->required();
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

const json& section(const json& config, const char* name) {
  require(config.contains(name), "the configuration lacks [{}]", name);
  return config.at(name);
}

const json& train_section(const json& config, const std::string& kind) {
  require(config.contains("train") && config["train"].contains(kind),
          "the configuration lacks [train.{}]", kind);
  return config["train"][kind];
}

TrainingOptions training_options(const json& s, const std::string& kind, const TrainFlags& flags,
                                 const Common& common) {
  const std::string where = "train." + kind;
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

void check_fits(int64_t image_size, int64_t channels, const data::Dataset& dataset) {
  require(
      image_size == dataset.height && image_size == dataset.width && channels == dataset.channels,
      "the configuration is for {0}x{0}x{1} images, {2} has {3}x{4}x{5}", image_size, channels,
      dataset.name, dataset.height, dataset.width, dataset.channels);
}

TrainingTask new_task(const std::string& kind, const json& model_config, const json& train,
                      const TrainingOptions& options, const data::Dataset& dataset,
                      const Common& common) {
  TrainingTask task;
  task.info.kind = kind;
  task.info.config = model_config;
  task.info.diffusion = json::object();
  task.info.data = {{"name", dataset.name},       {"height", dataset.height},
                    {"width", dataset.width},     {"channels", dataset.channels},
                    {"classes", dataset.classes}, {"size", dataset.size()}};
  task.info.training = {{"command", common.command_line},
                        {"version", DIFFSCM_VERSION},
                        {"device", name_of(common.target())},
                        {"options", train}};
  task.info.training["options"]["steps"] = options.steps;
  task.info.training["options"]["batch"] = options.batch;
  return task;
}

TrainingEnd train_with_progress(Common& common, const std::string& what, TrainingTask& task,
                                const TrainingOptions& options, const json& config) {
  TrainingCallbacks with;
  with.begin = [&] { io::atomic_write(options.out / "config.json", dump(config, 2) + "\n"); };
  with.progress = [&](const TrainingProgress& p) {
    common.console.progress("train " + what, static_cast<double>(p.step),
                            static_cast<double>(p.steps), p.eta_seconds,
                            fmt::format("step {} loss {:.4f} lr {:.2e} {:.0f} images/s", p.step,
                                        p.loss, p.lr, p.samples_per_second));
  };
  with.message = [&](const std::string& line) { common.console.say(line); };
  with.stop = stop_requested;
  const TrainingEnd end = train(task, options, with);
  common.console.finish_progress();
  return end;
}

void report_end(Common& common, TrainingEnd end, const TrainingOptions& options,
                const std::function<json()>& evaluate) {
  json summary = {{"out", options.out.string()},
                  {"peak_memory_mib", memory_statistics(common.target()).peak_bytes >> 20},
                  {"end", end == TrainingEnd::finished  ? "finished"
                          : end == TrainingEnd::stopped ? "stopped"
                                                        : "out of time"}};
  if (end == TrainingEnd::finished) {
    summary.update(evaluate());
    io::atomic_write(options.out / "evaluation.json", dump(summary, 2) + "\n");
  } else {
    common.console.say(
        fmt::format("{}: continue with --resume", summary["end"].get<std::string>()));
  }
  if (common.json) fmt::print("{}\n", dump(summary));
  common.console.say(fmt::format("model: {}", (options.out / "model.safetensors").string()));
  if (end == TrainingEnd::stopped) throw Stopped{};
}

}  // namespace diffscm::apps
