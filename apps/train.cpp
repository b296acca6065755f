// diffscm train diffusion|classifier|regressor|vae|oracle|autoencoder|ensemble|bound: from a data
// set to model.safetensors.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>

#include "apps/training.h"
#include "diffusion/known_states.h"
#include "evaluation/gradient_agreement.h"
#include "evaluation/noise_level_accuracy.h"
#include "evaluation/trials.h"
#include "models/classifier.h"
#include "models/unet.h"
#include "training/conditions.h"
#include "training/diffusion_training.h"
#include "training/gradient_matching.h"
#include "training/noisy_batches.h"
#include "training/variational_bound.h"

namespace diffscm::apps {
namespace {

using nlohmann::json;

double sum(const Variable& values) {
  double sum = 0;
  for (const float v : values.value().to_vector()) sum += v;
  return sum;
}

// Mean squared error of eps over all noise levels, on images that training has not seen, and, of a
// network that learns the variance, the variational bound's term: told their conditions, and told
// nothing; `part` images at a time.
json test_loss(Common& common, const UNet& unet, const data::Dataset& test,
               const NoiseSchedule& schedule, int64_t part) {
  constexpr int64_t kBatches = 10, kBatch = 100;
  const std::vector<Condition>& conditions = unet.config().conditions;
  const NoisyBatches batches(test, schedule, std::min(kBatch, test.size()), common.seed,
                             common.target());
  struct Means {
    double loss = 0, vlb = 0;
  } told, nothing;
  for (int64_t step = 0; step < kBatches; ++step) {
    const NoisyBatch b = batches.batch(step);
    const int64_t n = b.t.numel();
    const double count = static_cast<double>(n * kBatches);
    const Tensor steps = unet.config().learns_variance()
                             ? bound_steps(schedule, b.timesteps, common.target())
                             : Tensor();
    const auto add_to = [&](Means& means, const Tensor& features) {
      const NoGrad no_grad;
      for (int64_t first = 0; first < n; first += part) {
        const auto of_part = [&](const Tensor& t) {
          return t ? t.slice(first, std::min(n, first + part)) : t;
        };
        const Tensor x_t = of_part(b.x_t), noise = of_part(b.noise);
        const UNet::Outputs out = unet.outputs(x_t, of_part(b.t), of_part(features));
        means.loss += sum(mse_loss(out.eps, noise)) / count;
        if (out.v)
          means.vlb += sum(variational_bound(out.eps, out.v, noise, x_t, of_part(steps))) / count;
      }
    };
    add_to(nothing, {});
    if (!conditions.empty())
      add_to(told, condition_features(conditions, condition_values(conditions, test, b.index),
                                      common.target()));
  }
  json result;
  const auto report = [&](const char* what, const char* name, double Means::*mean) {
    result[name] = nothing.*mean;
    std::string text = fmt::format("{} {:.5f}", what, nothing.*mean);
    if (!conditions.empty()) {
      result[std::string(name) + "_told"] = told.*mean;
      text += fmt::format(", told its conditions {:.5f}", told.*mean);
    }
    common.console.say(text);
  };
  report("test loss", "test_loss", &Means::loss);
  if (unet.config().learns_variance())
    report("test bits per number and step", "test_vlb", &Means::vlb);
  return result;
}

void train_diffusion(Common& common, TrainFlags flags) {
  json config = load_config(flags.preset, flags.overrides);
  const TrainingOptions options = training_options(train_section(config, "diffusion"), "diffusion",
                                                   with_augmentation({"loss"}), flags, common);
  const NoiseSchedule schedule = noise_schedule(config);
  const TrainingData data = load_training_data(flags, /*labels=*/false);
  const data::Dataset &dataset = data.train, &test = data.test;
  fit_to_data(config, "unet", dataset, flags, common);
  auto unet_config = section(config, "unet").get<UNetConfig>();
  double drop = 0;
  if (config.contains("condition")) {  // else: unconditional
    const json& s = config["condition"];
    const auto told = entry<std::vector<std::string>>(s, "condition", "attributes");
    unet_config.conditions = conditions_of(dataset, told);
    require(told.empty() || test.attributes == dataset.attributes,
            "{} has labels to train on but none to test", dataset.name);
    drop = entry<double>(s, "condition", "drop");
    require(drop >= 0 && drop <= 1, "condition.drop is {}, must be in [0, 1]", drop);
  }
  const std::vector<Condition>& conditions = unet_config.conditions;
  const json& train = train_section(config, "diffusion");
  const auto loss = optional_entry<std::string>(train, "train.diffusion", "loss", "uniform");
  require(loss == "uniform" || loss == "min-snr",
          "train.diffusion.loss is '{}': uniform or min-snr", loss);
  const DiffusionTraining training(
      dataset, schedule, conditions,
      {.batch = options.batch,
       .seed = options.seed,
       .min_snr = loss == "min-snr",
       .augmentation = augmentation_of(train, "train.diffusion", dataset),
       .drop = drop,
       .variance = unet_config.learns_variance()},
      common.target());
  train_model<UNet>(
      common, flags, "diffusion", config, unet_config, dataset, options,
      [&](UNet&, int64_t step) { return training.batch(step); },
      [&](UNet& unet, const TrainingBatch& batch, ForwardContext& context) {
        return training.loss(unet, batch, context);
      },
      [&](UNet& unet) {
        return test.has_test ? test_loss(common, unet, test, schedule, options.at_a_time())
                             : json::object();
      },
      training.parts());
}

struct ClassifierFlags : TrainFlags {
  std::string attribute, model;
  template <class V>
  void visit(V&& flag) {
    TrainFlags::visit(flag);
    flag("attribute", &attribute, "the category to learn, by its name in the data",
         {.value = "NAME", .otherwise = "the first"});
    flag("model", &model,
         "a conditional U-Net: match its gradients (train.classifier.match), report how they agree",
         {.otherwise = "none", .model = true});
  }
};

// The conditional model to compare with, or none.
std::optional<DiffusionModel> model_to_compare(Common& common, const std::string& path,
                                               const json& config, const data::Dataset& test) {
  if (path.empty()) return {};
  std::optional<DiffusionModel> model(std::in_place, path, common.target(), 0, common.layers());
  model->check_fits(test);
  require(knows_labels(*model, test), "--model {}: it cannot be told the '{}' of {}", path,
          test.label_attribute().name, test.name);
  for (const Condition& c : model->conditions())
    if (c.name == test.label_attribute().name)
      require_same_states(model->info(), known_category(*model, c), test.label_attribute());
  for (const char* name : {"schedule", "timesteps"})
    require(model->info().diffusion.value(name, json()) == config["diffusion"].value(name, json()),
            "--model {} was trained with another diffusion {} than this configuration has", path,
            name);
  return model;
}

void train_classifier(Common& common, ClassifierFlags flags) {
  json config = load_config(flags.preset, flags.overrides);
  const json& train = train_section(config, "classifier");
  const TrainingOptions options =
      training_options(train, "classifier", with_augmentation({"match"}), flags, common);
  const double match =
      train.contains("match") ? entry<double>(train, "train.classifier", "match") : 0;
  require(std::isfinite(match) && match >= 0, "train.classifier.match is {}, must be at least 0",
          match);
  require(
      match == 0 || !flags.model.empty(),
      "train.classifier.match = {} needs --model: the conditional U-Net whose gradients to match",
      match);
  const NoiseSchedule schedule = noise_schedule(config);
  const TrainingData data = load_training_data(flags, /*labels=*/true, flags.attribute);
  fit_to_data(config, "classifier", data.train, flags, common);
  const auto classifier_config = section(config, "classifier").get<ClassifierConfig>();
  const auto model = model_to_compare(common, flags.model, config, data.test);
  const NoisyBatches batches(data.train, schedule, options.batch, options.seed, common.target(),
                             augmentation_of(train, "train.classifier", data.train));
  std::optional<GradientMatching> matching;
  if (match > 0)
    matching.emplace(*model, data.train.label_attribute().name, match, options.seed,
                     options.at_a_time());
  train_model<Classifier>(
      common, flags, "classifier", config, classifier_config, data.train, options,
      [&](Classifier& classifier, int64_t step) {
        const NoisyBatch b = batches.batch(step);
        return matching ? matching->batch(classifier, b, step) : TrainingBatch{b.x_t, b.t, b.label};
      },
      [&](Classifier& classifier, const TrainingBatch& batch, ForwardContext& context) {
        if (matching) return matching->loss(classifier, batch, context);
        return negate(log_softmax_at(classifier.forward(batch[0], batch[1], context), batch[2]));
      },
      [&](Classifier& classifier) {
        constexpr int64_t kImages = 1000;
        json levels = json::array();
        common.console.say(
            fmt::format("accuracy by noise level, {} test images:\n     t  alpha_bar  accuracy",
                        std::min(kImages, data.test.size())));
        for (const NoiseLevelAccuracy& a :
             noise_level_accuracy(classifier, data.test, schedule, kImages, /*levels=*/11,
                                  common.seed, common.target(), options.at_a_time())) {
          common.console.say(
              fmt::format("{:6}  {:9.5f}  {:7.1f}%", a.timestep, a.alpha_bar, 100 * a.accuracy));
          levels.push_back(
              {{"timestep", a.timestep}, {"alpha_bar", a.alpha_bar}, {"accuracy", a.accuracy}});
        }
        json result = {{"accuracy_by_noise_level", levels}};
        if (model) {
          const std::vector<Trial> trials =
              draw_trials(data.test, 1, std::min<int64_t>(50, data.test.size()), common.seed);
          std::vector<int64_t> index;
          for (const Trial& t : trials) index.push_back(t.index);
          const auto agreement =
              gradient_agreement(AntiCausalPredictor(flags.out, *model), *model, data.test, index,
                                 states_of(trials).target, common.seed, options.at_a_time());
          common.console.say(fmt::format("agreement with {}, {} test images:\n{}", flags.model,
                                         index.size(), to_table(agreement)));
          result["agreement_by_noise_level"] = to_json(agreement);
        }
        return result;
      });
}

}  // namespace

void add_train(CLI::App& app, Common& common) {
  CLI::App* command = app.add_subcommand(
      "train", "Train a diffusion model, a noisy classifier, or the networks that judge");
  command->require_subcommand(1);
  const auto add = [&]<class F>(const char* name, const char* help, void (*work)(Common&, F)) {
    F flags;
    flags.presets = presets_with(fmt::format("train.{}", name));
    add_command(*command, name, help, common, work, std::move(flags));
  };
  add("diffusion", "Train the U-Net that predicts the noise", train_diffusion);
  add("classifier", "Train the anti-causal predictor of a category on noisy images",
      train_classifier);
  add("regressor", "Train the anti-causal predictor of a number on noisy images", train_regressor);
  add("vae", "Train the variational autoencoder behind CLD", train_vae);
  add("oracle", "Train the classifier of clean images that judges", train_oracle);
  add("autoencoder", "Train the autoencoders behind IM1 and IM2: one per class, one for all",
      train_autoencoders);
  add("ensemble", "Train the robust classifier that the classical baselines explain",
      train_ensemble);
  add("bound", "Train the network that shows how well any method can do, on known truth",
      train_bound);
}

}  // namespace diffscm::apps
