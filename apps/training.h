// What the `train` subcommands share: flags, the configuration's [train.*] sections, the run of one
// model from data set to model.safetensors.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/command.h"
#include "apps/config.h"
#include "data/dataset.h"
#include "engine/io/file.h"
#include "models/checkpoint.h"
#include "training/trainer.h"

namespace diffscm::apps {

struct TrainFlags {
  std::string preset, data = "mnist", out, init;
  std::vector<std::string> overrides;
  int64_t steps = 0, batch = 0, checkpoint_every = 500, log_every = 20;
  double minutes = 0;
  bool resume = false;
};
void add_train_flags(CLI::App* command, TrainFlags& flags, const char* presets);

// The networks that judge counterfactuals, and the one that baselines explain
// (apps/train_judges.cpp).
void train_vae(Common& common, const TrainFlags& flags);
void train_oracle(Common& common, const TrainFlags& flags);
void train_autoencoders(Common& common, const TrainFlags& flags);
void train_ensemble(Common& common, const TrainFlags& flags);

// Both throw Error naming the entry that is missing or unusable.
const nlohmann::json& section(const nlohmann::json& config, const char* name);
template <class T>
T entry(const nlohmann::json& section, const std::string& where, const char* name) {
  require(section.is_object() && section.contains(name), "the configuration lacks {}.{}", where,
          name);
  try {
    return section.at(name).get<T>();
  } catch (const nlohmann::json::exception&) {
    fail("the configuration has an unusable {}.{} = {}", where, name, section.at(name).dump());
  }
}
// [train.KIND].
const nlohmann::json& train_section(const nlohmann::json& config, const std::string& kind);

TrainingOptions training_options(const nlohmann::json& train, const std::string& kind,
                                 const TrainFlags& flags, const Common& common);

// Throws Error unless a network for SxSxC images fits the data set.
void check_fits(int64_t image_size, int64_t channels, const data::Dataset& dataset);
// Throws Error unless every image has a label that a classifier of so many classes knows.
void check_labels(const data::Dataset& dataset, int64_t classes);

// A task whose `info` says what is trained, on what, how and by which command.
TrainingTask new_task(const std::string& kind, const nlohmann::json& model_config,
                      const nlohmann::json& train, const TrainingOptions& options,
                      const data::Dataset& dataset, const Common& common);

// Trains with a progress bar called "train WHAT"; begins by writing the configuration beside it.
TrainingEnd train_with_progress(Common& common, const std::string& what, TrainingTask& task,
                                const TrainingOptions& options, const nlohmann::json& config);

// Prints and returns what became of the run; throws Stopped when it was stopped.
void report_end(Common& common, TrainingEnd end, const TrainingOptions& options,
                const std::function<nlohmann::json()>& evaluate);

// One model, one run. `batch` and `loss`: training/trainer.h; `evaluate` sees the weights that were
// saved and adds to the summary.
template <class Model>
void train_model(Common& common, const TrainFlags& flags, const std::string& kind,
                 const nlohmann::json& config, const typename Model::Config& model_config,
                 const data::Dataset& dataset, const TrainingOptions& options,
                 const std::function<TrainingBatch(Model&, int64_t step)>& batch,
                 const std::function<Variable(Model&, const TrainingBatch&, ForwardContext&)>& loss,
                 const std::function<nlohmann::json(Model&)>& evaluate) {
  check_fits(model_config.image_size, model_config.in_channels, dataset);
  std::filesystem::create_directories(options.out);
  Model model(model_config, common.seed);
  if constexpr (requires { model.set_precision(common.layers()); })
    model.set_precision(common.layers());
  else
    require(common.precision == "f32", "--precision {}: a {} is trained in f32", common.precision,
            Model::kKind);
  TrainingTask task =
      new_task(Model::kKind, model_config, train_section(config, kind), options, dataset, common);
  if (config.contains("diffusion")) task.info.diffusion = config["diffusion"];
  if (!flags.init.empty()) {
    const auto [info, state] = read_model(flags.init);
    require(info.kind == Model::kKind, "--init {} holds a {}, not a {}", flags.init, info.kind,
            Model::kKind);
    load_state(named_parameters(model), state);
    task.info.training["started_from"] = {{"sha256", info.sha256}, {"training", info.training}};
  }
  for (const auto& [name, p] : named_parameters(model))
    p->variable = Variable(p->variable.value().to(common.target()));
  task.parameters = named_parameters(model);
  task.batch = [&](int64_t step) { return batch(model, step); };
  task.loss = [&](const TrainingBatch& batch, ForwardContext& context) {
    return loss(model, batch, context);
  };
  common.console.say(fmt::format("{}: {} parameters, {} images of {}, {} steps of {}, on {}",
                                 Model::kKind, parameter_count(model), dataset.size(), dataset.name,
                                 options.steps, options.batch, name_of(common.target())));
  const TrainingEnd end = train_with_progress(common, kind, task, options, config);
  report_end(common, end, options, [&] {
    load_state(task.parameters, read_model(options.out).second);  // what is saved: the average
    return evaluate(model);
  });
}

}  // namespace diffscm::apps
