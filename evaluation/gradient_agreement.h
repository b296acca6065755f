// Whether two ways to guide say the same: the gradient of a classifier, and what a conditional
// network implies by Bayes' rule,
//   grad log p(parent = value | x_t) = (eps(x_t, t) - eps(x_t, t | value)) / sqrt(1 - alpha_bar_t)
// (Ho & Salimans 2022, section 3.1). Where they part, at least one of the networks is wrong.
#pragma once

#include <span>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "data/dataset.h"
#include "diffusion/anti_causal_predictor.h"
#include "diffusion/diffusion_model.h"
#include "evaluation/metrics/interval.h"

namespace diffscm {

struct GradientAgreement {
  int timestep;
  double alpha_bar;
  MeanInterval cosine;  // of the angle between the two, over images: 1 is agreement
  MeanInterval ratio;   // |classifier's| / |implicit|: 1 is agreement
};

// At `levels` evenly spaced timesteps from 0 to T-1, for images x0 [N,H,W,C] of a data set's places
// `index`, diffused with noise that depends on (seed, index, timestep) alone. The functions are
// bound to one value per image. An image where either gradient is 0 has no angle and no ratio, and
// is not counted. Throws Error below two levels, and for functions that are empty.
std::vector<GradientAgreement> gradient_agreement(const GuidanceGradient& classifier,
                                                  const EpsilonModel& unconditional,
                                                  const EpsilonModel& conditional, const Tensor& x0,
                                                  const std::vector<int64_t>& index,
                                                  const NoiseSchedule& schedule, int levels,
                                                  uint64_t seed);

// Of a predictor of the data set's labels and a model that can be told them (knows_labels()), for
// images `index` asked to be of these classes, at 11 levels; networks see `batch` images at a time.
bool knows_labels(const DiffusionModel& model, const data::Dataset& dataset);
std::vector<GradientAgreement> gradient_agreement(const AntiCausalPredictor& predictor,
                                                  const DiffusionModel& model,
                                                  const data::Dataset& dataset,
                                                  const std::vector<int64_t>& index,
                                                  const std::vector<int64_t>& classes,
                                                  uint64_t seed, int64_t batch = 100);

// A list, one object per level: timestep, alpha_bar, and of cosine and ratio mean and half_width.
nlohmann::ordered_json to_json(const std::vector<GradientAgreement>& levels);
// For a terminal.
std::string to_table(const std::vector<GradientAgreement>& levels);

}  // namespace diffscm
