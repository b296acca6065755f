// diffscm train diffusion|classifier|vae|oracle|autoencoder|ensemble: from a data set to
// model.safetensors.
#include <memory>

#include "apps/training.h"
#include "evaluation/noise_level_accuracy.h"
#include "models/classifier.h"
#include "models/unet.h"
#include "training/noisy_batches.h"

namespace diffscm::apps {
namespace {

using nlohmann::json;

NoiseSchedule noise_schedule(const json& config) {
  const json& s = section(config, "diffusion");
  return {parse_schedule_kind(entry<std::string>(s, "diffusion", "schedule")),
          entry<int>(s, "diffusion", "timesteps")};
}

// The part that both kinds share. `target` is what the loss compares with: noise or labels.
template <class Model>
void run(Common& common, const TrainFlags& flags, const char* kind, const json& config,
         const typename Model::Config& model_config, Tensor NoisyBatch::*target,
         const std::function<Variable(const Variable& output, const Tensor& target)>& loss,
         const std::function<json(Model&, const NoiseSchedule&)>& evaluate) {
  const TrainingOptions options =
      training_options(train_section(config, kind), kind, flags, common);
  const NoiseSchedule schedule = noise_schedule(config);
  Chain(schedule, entry<int>(section(config, "diffusion"), "diffusion", "sampling_steps"));
  const data::Dataset dataset = data::load_dataset(flags.data, data::Split::train);
  if constexpr (std::is_same_v<Model, Classifier>) check_labels(dataset, model_config.classes);
  const NoisyBatches batches(dataset, schedule, options.batch, options.seed, common.target());
  train_model<Model>(
      common, flags, kind, config, model_config, dataset, options,
      [&, target](Model&, int64_t step) {
        const NoisyBatch b = batches.batch(step);
        return TrainingBatch{b.x_t, b.t, b.*target};
      },
      [&](Model& model, const TrainingBatch& batch, ForwardContext& context) {
        return loss(model.forward(batch[0], batch[1], context), batch[2]);
      },
      [&](Model& model) { return evaluate(model, schedule); });
}

void train_diffusion(Common& common, const TrainFlags& flags) {
  const json config = load_config(flags.preset, flags.overrides);
  run<UNet>(common, flags, "diffusion", config, section(config, "unet").get<UNetConfig>(),
            &NoisyBatch::noise, mse_loss,
            [](UNet&, const NoiseSchedule&) { return json::object(); });
}

void train_classifier(Common& common, const TrainFlags& flags) {
  const json config = load_config(flags.preset, flags.overrides);
  const auto classifier_config = section(config, "classifier").get<ClassifierConfig>();
  run<Classifier>(
      common, flags, "classifier", config, classifier_config, &NoisyBatch::label,
      [](const Variable& logits, const Tensor& label) {
        return negate(log_softmax_at(logits, label));
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
