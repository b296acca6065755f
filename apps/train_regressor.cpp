// diffscm train regressor: the anti-causal predictor of a number.
#include <fmt/format.h>

#include "apps/training.h"
#include "models/regressor.h"
#include "training/conditions.h"
#include "training/noise_level_errors.h"
#include "training/noisy_batches.h"

namespace diffscm::apps {

using nlohmann::json;

namespace {

Condition number_to_learn(const TrainingData& data, const std::string& name) {
  const data::Attribute& attribute = attribute_to_learn(data, name);
  if (attribute.is_category())
    throw UsageError(fmt::format("--attribute {}: it is a category of {}: train a classifier", name,
                                 data.train.name));
  return conditions_of(data.train, {{attribute.name}}).front();
}

// Measures the error by noise level, which becomes part of the model's file.
json measured(Common& common, Regressor& regressor, const data::Dataset& test,
              const NoiseSchedule& schedule, const TrainingOptions& options) {
  constexpr int64_t kImages = 1000;
  constexpr int kLevels = 21;
  regressor.set_sigma(noise_level_errors(regressor, test, schedule, kImages, kLevels, common.seed,
                                         common.target(), options.at_a_time()));
  auto [info, state] = read_model(options.out);
  info.config = regressor.config();
  write_model(options.out / "model.safetensors", info, state);

  const Condition& a = regressor.config().attribute;
  common.console.say(
      fmt::format("root mean square error of {} by noise level, {} test images (knowing nothing: "
                  "{:.4g}):\n     t  alpha_bar      error",
                  a.name, std::min(kImages, test.size()), a.deviation));
  json levels = json::array();
  for (const NoiseLevelError& e : regressor.config().sigma) {
    const double alpha_bar = schedule.alpha_bar(e.timestep), rms = e.rms * a.deviation;
    common.console.say(fmt::format("{:6}  {:9.5f}  {:9.4g}", e.timestep, alpha_bar, rms));
    levels.push_back({{"timestep", e.timestep}, {"alpha_bar", alpha_bar}, {"rms_error", rms}});
  }
  return {{"attribute", a.name}, {"deviation", a.deviation}, {"error_by_noise_level", levels}};
}

}  // namespace

void train_regressor(Common& common, RegressorFlags flags) {
  json config = load_config(flags.preset, flags.overrides);
  const json& train = train_section(config, "regressor");
  const TrainingOptions options =
      training_options(train, "regressor", with_augmentation({}), flags, common);
  const NoiseSchedule schedule = noise_schedule(config);
  const TrainingData data = load_training_data(flags, /*labels=*/false);
  fit_to_data(config, "regressor", data.train, flags, common);
  config["regressor"]["attribute"] = number_to_learn(data, flags.attribute);
  const auto regressor_config = config["regressor"].get<RegressorConfig>();
  const Condition& attribute = regressor_config.attribute;
  const NoisyBatches batches(data.train, schedule, options.batch, options.seed, common.target(),
                             augmentation_of(train, "train.regressor", data.train));
  train_model<Regressor>(
      common, flags, "regressor", config, regressor_config, data.train, options,
      [&](Regressor& regressor, int64_t step) {
        const NoisyBatch b = batches.batch(step);
        const std::vector<double> y = condition_values({&attribute, 1}, data.train, b.index);
        return TrainingBatch{b.x_t, b.t, regressor.standardised(y, common.target())};
      },
      [&](Regressor& regressor, const TrainingBatch& batch, ForwardContext& context) {
        return mse_loss(regressor.forward(batch[0], batch[1], context), batch[2]);
      },
      [&](Regressor& regressor) {
        return measured(common, regressor, data.test, schedule, options);
      });
}

}  // namespace diffscm::apps
