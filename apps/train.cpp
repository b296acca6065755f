// diffscm train diffusion|classifier|vae|oracle|autoencoder|ensemble: from a data set to
// model.safetensors.
#include <memory>

#include "apps/training.h"
#include "evaluation/noise_level_accuracy.h"
#include "models/classifier.h"
#include "models/unet.h"
#include "training/conditions.h"
#include "training/noisy_batches.h"

namespace diffscm::apps {
namespace {

using nlohmann::json;

NoiseSchedule noise_schedule(const json& config) {
  const json& s = section(config, "diffusion");
  return {parse_schedule_kind(entry<std::string>(s, "diffusion", "schedule")),
          entry<int>(s, "diffusion", "timesteps")};
}

void check_chain(const json& config, const NoiseSchedule& schedule) {
  Chain(schedule, entry<int>(section(config, "diffusion"), "diffusion", "sampling_steps"));
}

void train_diffusion(Common& common, const TrainFlags& flags) {
  const json config = load_config(flags.preset, flags.overrides);
  const TrainingOptions options =
      training_options(train_section(config, "diffusion"), "diffusion", flags, common);
  const NoiseSchedule schedule = noise_schedule(config);
  check_chain(config, schedule);
  const data::Dataset dataset = data::load_dataset(flags.data, data::Split::train);
  auto unet_config = section(config, "unet").get<UNetConfig>();
  double drop = 0;
  if (config.contains("condition")) {  // else: unconditional
    const json& s = config["condition"];
    unet_config.conditions =
        conditions_of(dataset, entry<std::vector<std::string>>(s, "condition", "attributes"));
    drop = entry<double>(s, "condition", "drop");
    require(drop >= 0 && drop <= 1, "condition.drop is {}, must be in [0, 1]", drop);
  }
  const std::vector<Condition>& conditions = unet_config.conditions;
  const NoisyBatches batches(dataset, schedule, options.batch, options.seed, common.target());
  train_model<UNet>(
      common, flags, "diffusion", config, unet_config, dataset, options,
      [&](UNet&, int64_t step) {
        const NoisyBatch b = batches.batch(step);
        TrainingBatch batch{b.x_t, b.t, b.noise};
        if (!conditions.empty()) {
          std::vector<double> values = condition_values(conditions, dataset, b.index);
          forget(values, conditions.size(), drop, options.seed, step);
          batch.push_back(condition_features(conditions, values, common.target()));
        }
        return batch;
      },
      [&](UNet& unet, const TrainingBatch& batch, ForwardContext& context) {
        return mse_loss(
            unet.forward(batch[0], batch[1], context, conditions.empty() ? Tensor() : batch[3]),
            batch[2]);
      },
      [](UNet&) { return json::object(); });
}

void train_classifier(Common& common, const TrainFlags& flags) {
  const json config = load_config(flags.preset, flags.overrides);
  const TrainingOptions options =
      training_options(train_section(config, "classifier"), "classifier", flags, common);
  const NoiseSchedule schedule = noise_schedule(config);
  check_chain(config, schedule);
  const auto classifier_config = section(config, "classifier").get<ClassifierConfig>();
  const data::Dataset dataset = data::load_dataset(flags.data, data::Split::train);
  check_labels(dataset, classifier_config.classes);
  const NoisyBatches batches(dataset, schedule, options.batch, options.seed, common.target());
  train_model<Classifier>(
      common, flags, "classifier", config, classifier_config, dataset, options,
      [&](Classifier&, int64_t step) {
        const NoisyBatch b = batches.batch(step);
        return TrainingBatch{b.x_t, b.t, b.label};
      },
      [](Classifier& classifier, const TrainingBatch& batch, ForwardContext& context) {
        return negate(log_softmax_at(classifier.forward(batch[0], batch[1], context), batch[2]));
      },
      [&](Classifier& classifier) {
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

}  // namespace

void add_train(CLI::App& app, Common& common) {
  CLI::App* command = app.add_subcommand(
      "train", "Train a diffusion model, a noisy classifier, or the networks that judge");
  command->require_subcommand(1);
  const auto add = [&](const char* name, const char* help, const char* presets,
                       void (*work)(Common&, const TrainFlags&)) {
    CLI::App* leaf = command->add_subcommand(name, help);
    auto flags = std::make_shared<TrainFlags>();
    add_train_flags(leaf, *flags, presets);
    leaf->callback([&common, flags, work] { work(common, *flags); });
  };
  const char* diffusion = "mnist-fast, mnist-paper, tiny, or a TOML file";
  const char* judges = "mnist-judges, or a TOML file";
  add("diffusion", "Train the U-Net that predicts the noise", diffusion, train_diffusion);
  add("classifier", "Train the anti-causal predictor on noisy images", diffusion, train_classifier);
  add("vae", "Train the variational autoencoder behind CLD", judges, train_vae);
  add("oracle", "Train the classifier of clean images that judges", judges, train_oracle);
  add("autoencoder", "Train the autoencoders behind IM1 and IM2: one per class, one for all",
      judges, train_autoencoders);
  add("ensemble", "Train the robust classifier that the classical baselines explain", judges,
      train_ensemble);
}

}  // namespace diffscm::apps
