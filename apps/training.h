// What the `train` subcommands share: flags, the configuration's [train.*] sections, the run of one
// model from data set to model.safetensors.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "apps/command.h"
#include "apps/config.h"
#include "apps/notes.h"
#include "apps/output_folder.h"
#include "data/dataset.h"
#include "diffusion/noise_schedule.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "models/checkpoint.h"
#include "models/config_fields.h"
#include "models/unet.h"
#include "training/image_batches.h"
#include "training/trainer.h"

namespace diffscm::apps {

struct TrainFlags {
  std::string presets;  // that have the subcommand's section; no flag
  std::string preset, data = "mnist", out, init;
  std::vector<std::string> overrides;
  int64_t steps = 0, batch = 0, micro_batch = 0, checkpoint_every = 500, log_every = 20;
  double minutes = 0;
  bool resume = false, recompute = false;
  template <class V>
  void visit(V&& flag) {
    flag("preset", &preset, "the configuration", {.required = true, .value = presets});
    flag("set", &overrides, "change a configuration entry, as often as needed",
         {.value = "A.B=VALUE", .otherwise = "the preset's"});
    flag("data", &data, data::kSources, {.value = "mnist|digits|FILE"});
    flag("out", &out, "the run's folder", {.required = true, .value = "DIR"});
    flag("init", &init, "start from this model's weights",
         {.otherwise = "random ones", .model = true});
    flag("steps", &steps, "optimiser steps; with --resume more than before trains on",
         {.least = 1, .most = 1e9, .otherwise = "the preset's"});
    flag("batch", &batch, "images per step",
         {.least = 1, .most = 1e6, .otherwise = "the preset's"});
    flag("micro-batch", &micro_batch,
         "images computed at a time: their gradients add up to the batch's, in less memory",
         {.least = 1, .most = 1e6, .otherwise = "the batch"});
    flag("recompute", &recompute,
         "keep of each stage of a network its input only, and compute it again for its gradient: "
         "the same weights, in less memory and more time");
    flag("minutes", &minutes, "stop after this long; --resume continues",
         {.positive = true, .otherwise = "no limit"});
    flag("checkpoint-every", &checkpoint_every, "steps between checkpoints",
         {.least = 1, .most = 1e9});
    flag("log-every", &log_every, "steps between log lines", {.least = 1, .most = 1e9});
    flag("resume", &resume, "continue the run in --out");
  }
};

// The anti-causal predictor of a number (apps/train_regressor.cpp).
struct RegressorFlags : TrainFlags {
  std::string attribute;
  template <class V>
  void visit(V&& flag) {
    TrainFlags::visit(flag);
    flag("attribute", &attribute, "the number to learn, by its name in the data",
         {.required = true, .value = "NAME"});
  }
};
void train_regressor(Common& common, RegressorFlags flags);

// The networks that judge counterfactuals, and the one that baselines explain
// (apps/train_judges.cpp); the best that can be done from the image alone (apps/train_bound.cpp).
void train_vae(Common& common, TrainFlags flags);
void train_oracle(Common& common, TrainFlags flags);
void train_autoencoders(Common& common, TrainFlags flags);
void train_ensemble(Common& common, TrainFlags flags);
void train_bound(Common& common, TrainFlags flags);

// Both throw Error naming the entry that is missing or unusable.
const nlohmann::json& section(const nlohmann::json& config, const char* name);
template <class T>
T entry(const nlohmann::json& section, const std::string& where, const char* name) {
  require(section.is_object() && section.contains(name), "the configuration lacks {}.{}", where,
          name);
  const std::optional<T> value = exactly<T>(section.at(name));
  require(value.has_value(), "the configuration has an unusable {}.{} = {}", where, name,
          io::dump(section.at(name)));
  return *value;
}
// The same of an entry that may be left out.
template <class T>
T optional_entry(const nlohmann::json& section, const std::string& where, const char* name,
                 T otherwise) {
  return section.contains(name) ? entry<T>(section, where, name) : otherwise;
}
// [diffusion]: throws Error when its sampling_steps do not fit either.
NoiseSchedule noise_schedule(const nlohmann::json& config);
// [train.KIND] shift, flip, random_crop (training/image_batches.h); each may be left out.
Augmentation augmentation_of(const nlohmann::json& train, const std::string& where,
                             const data::Dataset& dataset);
// The entries of a section that are the kind's own, and those of augmentation_of().
std::vector<std::string> with_augmentation(std::vector<std::string> own);
// [train.KIND].
const nlohmann::json& train_section(const nlohmann::json& config, const std::string& kind);

// Of [train.KIND], where `own` are the entries that it has beside the ones that all kinds share,
// and the flags. Throws Error naming an entry that is unknown or makes no sense.
TrainingOptions training_options(const nlohmann::json& train, const std::string& kind,
                                 const std::vector<std::string>& own, const TrainFlags& flags,
                                 const Common& common);

// Both splits of --data, read before anything is trained.
struct TrainingData {
  data::Dataset train, test;
};
// Throws Error when a split is missing or the two do not belong together; with `labels`, also when
// an image of either has none or all have the same. Labels are those of `category`, if one is
// named. train.notes has the notes of both.
TrainingData load_training_data(const TrainFlags& flags, bool labels,
                                const std::string& category = "");
// The attribute of that name, which both splits must have. Throws Error otherwise.
const data::Attribute& attribute_to_learn(const TrainingData& data, const std::string& name);
// Throws Error unless every image has a label.
void check_labels(const data::Dataset& dataset);

// Gives the parameters the values of the model `init`, whose configuration is `theirs`. Throws
// Error naming what of the networks differs, beside what a network may learn anew.
void load_start(const std::string& init, const nlohmann::json& theirs, const nlohmann::json& ours,
                const std::vector<std::pair<std::string, Parameter*>>& parameters,
                const NamedTensors& state);

// Sets what the data decide in [SECTION] of a configuration (image_size, in_channels, out_channels,
// classes) and says so in one line. Throws UsageError when --set wants it otherwise.
void fit_to_data(nlohmann::json& config, const char* name, const data::Dataset& dataset,
                 const TrainFlags& flags, Common& common);

// A task whose `info` says what is trained, on what, how and by which command.
TrainingTask new_task(const std::string& kind, const nlohmann::json& model_config,
                      const nlohmann::json& train, const TrainingOptions& options,
                      const data::Dataset& dataset, const TrainFlags& flags, const Common& common);

// Trains with a progress bar called "train WHAT"; begins by writing run.json and the configuration.
TrainingEnd train_with_progress(Common& common, const TrainFlags& flags, const std::string& what,
                                TrainingTask& task, const TrainingOptions& options,
                                const nlohmann::json& config);

// Prints and returns what became of the run; throws Stopped when it was stopped.
void report_end(Common& common, TrainingEnd end, const TrainingOptions& options,
                const std::function<nlohmann::json()>& evaluate);

// One model, one run. `batch`, `loss` and the names of its parts: training/trainer.h; `evaluate`
// sees the weights that were saved and adds to the summary.
template <class Model>
void train_model(
    Common& common, const TrainFlags& flags, const std::string& kind, const nlohmann::json& config,
    const typename Model::Config& model_config, const data::Dataset& dataset,
    const TrainingOptions& options, const std::function<TrainingBatch(Model&, int64_t step)>& batch,
    const std::function<TrainingLoss(Model&, const TrainingBatch&, ForwardContext&)>& loss,
    const std::function<nlohmann::json(Model&)>& evaluate,
    const std::vector<std::string>& parts = {}) {
  Model model(model_config, common.seed);
  if constexpr (requires { model.set_precision(common.layers()); })
    model.set_precision(common.layers());
  else
    require(common.precision == "f32", "--precision {}: a {} is trained in f32", common.precision,
            Model::kKind);
  TrainingTask task = new_task(Model::kKind, model_config, train_section(config, kind), options,
                               dataset, flags, common);
  if (config.contains("diffusion")) task.info.diffusion = config["diffusion"];
  if (kind == "diffusion" && config.contains("condition"))
    task.settings["condition"] = config["condition"];
  if (!flags.init.empty()) {
    auto [info, state] = read_model(flags.init);
    require(info.kind == Model::kKind, "--init {}: kind is {}, expected {}", flags.init, info.kind,
            Model::kKind);
    if constexpr (requires { model_config.conditions; })
      teach_conditions(state, info.config.template get<typename Model::Config>().conditions,
                       model_config.conditions);
    load_start(flags.init, info.config.template get<typename Model::Config>(), model_config,
               named_parameters(model), state);
    task.info.training["started_from"] = {{"sha256", info.sha256}, {"training", info.training}};
    task.settings["init"] = info.sha256;
  }
  for (const auto& [name, p] : named_parameters(model))
    p->variable = Variable(p->variable.value().to(common.target()));
  task.parameters = named_parameters(model);
  task.parts = parts;
  task.batch = [&](int64_t step) { return batch(model, step); };
  task.loss = [&](const TrainingBatch& batch, ForwardContext& context) {
    return loss(model, batch, context);
  };
  say_notes(common, dataset);
  common.console.say(fmt::format("{}: {} parameters, {} images of {}, {} steps of {}, on {}",
                                 Model::kKind, parameter_count(model), dataset.size(), dataset.name,
                                 options.steps, options.batch, name_of(common.target())));
  const OutputFolder folder(options.out, "train");
  const TrainingEnd end = train_with_progress(common, flags, kind, task, options, config);
  report_end(common, end, options, [&] {
    load_state(task.parameters, read_model(options.out).second);  // what is saved: the average
    return evaluate(model);
  });
}

}  // namespace diffscm::apps
