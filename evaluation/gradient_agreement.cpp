#include "evaluation/gradient_agreement.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "diffusion/batch.h"
#include "diffusion/in_parts.h"
#include "evaluation/noise_level_accuracy.h"
#include "training/noisy_batches.h"

namespace diffscm {

std::vector<GradientAgreement> gradient_agreement(const GuidanceGradient& classifier,
                                                  const EpsilonModel& unconditional,
                                                  const EpsilonModel& conditional, const Tensor& x0,
                                                  const std::vector<int64_t>& index,
                                                  const NoiseSchedule& schedule, int levels,
                                                  uint64_t seed) {
  require(classifier && unconditional && conditional,
          "gradient_agreement needs a classifier's gradient, a noise model and a conditional one");
  std::vector<GradientAgreement> result;
  for (const int t : evenly_spaced_timesteps(schedule, levels)) {
    const double a = schedule.alpha_bar(t);
    const Tensor x_t = diffuse(x0, index, schedule, t, seed);
    const Tensor explicit_one = classifier(x_t, t);
    const double per_sigma = 1 / std::sqrt(1 - a);
    const Tensor implicit_one =
        combine(per_sigma, unconditional(x_t, t), -per_sigma, conditional(x_t, t));
    const std::vector<TensorPair> pairs{
        {explicit_one, implicit_one}, {explicit_one, explicit_one}, {implicit_one, implicit_one}};
    const auto dots = sample_dots(pairs);
    std::vector<double> cosine, ratio;
    for (size_t i = 0; i < index.size(); ++i) {
      if (!(dots[1][i] > 0 && dots[2][i] > 0)) continue;
      cosine.push_back(dots[0][i] / std::sqrt(dots[1][i] * dots[2][i]));
      ratio.push_back(std::sqrt(dots[1][i] / dots[2][i]));
    }
    result.push_back({t, a, mean_with_interval(cosine), mean_with_interval(ratio)});
  }
  return result;
}

bool knows_labels(const DiffusionModel& model, const data::Dataset& dataset) {
  const std::string& label = dataset.label_attribute().name;
  return std::any_of(model.conditions().begin(), model.conditions().end(),
                     [&](const Condition& c) { return c.name == label; });
}

std::vector<GradientAgreement> gradient_agreement(const AntiCausalPredictor& predictor,
                                                  const DiffusionModel& model,
                                                  const data::Dataset& dataset,
                                                  const std::vector<int64_t>& index,
                                                  const std::vector<int64_t>& classes,
                                                  uint64_t seed, int64_t batch) {
  const std::string& label = dataset.label_attribute().name;
  require(knows_labels(model, dataset), "{} cannot be told the '{}' of {}", model.info().path,
          label, dataset.name);
  std::vector<data::Assignment> parents;
  for (const int64_t c : classes) parents.push_back({{label, static_cast<double>(c)}});
  return gradient_agreement(in_parts(predictor.gradient(classes), batch),
                            in_parts(model.epsilon(), batch),
                            in_parts(model.epsilon(parents), batch),
                            dataset.images(index).to(model.target()), index, model.schedule(),
                            /*levels=*/11, seed);
}

nlohmann::ordered_json to_json(const std::vector<GradientAgreement>& levels) {
  const auto json = [](const MeanInterval& m) {
    return nlohmann::ordered_json{{"mean", m.mean}, {"half_width", m.half_width}};
  };
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const GradientAgreement& level : levels)
    all.push_back({{"timestep", level.timestep},
                   {"alpha_bar", level.alpha_bar},
                   {"cosine", json(level.cosine)},
                   {"ratio", json(level.ratio)}});
  return all;
}

std::string to_table(const std::vector<GradientAgreement>& levels) {
  std::string text =
      fmt::format("{:>6}  {:>9}  {:>14}  {:>14}\n", "t", "alpha_bar", "cosine", "ratio");
  for (const GradientAgreement& level : levels)
    text += fmt::format("{:6}  {:9.5f}  {:6.3f} +- {:5.3f}  {:6.3f} +- {:5.3f}\n", level.timestep,
                        level.alpha_bar, level.cosine.mean, level.cosine.half_width,
                        level.ratio.mean, level.ratio.half_width);
  return text;
}

}  // namespace diffscm
