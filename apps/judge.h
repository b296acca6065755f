// Who says what an answer shows.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "diffusion/anti_causal_predictor.h"
#include "models/checkpoint.h"
#include "models/probabilities.h"

namespace diffscm::apps {

struct Judge {
  ModelInfo info;
  std::string attribute;  // what it judges, as its training data call it; "": they do not say
  int64_t classes = 0;
  std::function<ClassProbabilities(const Tensor& images)> probabilities;  // of clean images
};

// `given`, an oracle or a noisy classifier (asked at t = 0); without it the oracle of the same data
// beside the model, which had no part in making the answer; without one the classifier that guides,
// or nobody. Throws Error when `given` holds something else or does not fit the model's images.
std::optional<Judge> find_judge(const std::string& given, const DiffusionModel& model,
                                const AntiCausalPredictor* guide);

}  // namespace diffscm::apps
