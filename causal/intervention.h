// Action: do(parent = value, ..) as it reaches the images of a batch, through networks that know
// the parents.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "causal/counterfactual.h"
#include "data/attribute.h"
#include "diffusion/anti_causal_predictor.h"
#include "diffusion/diffusion_model.h"
#include "diffusion/guidance.h"

namespace diffscm {

using data::Assignment;

// One entry per image of the batch.
struct Intervention {
  std::vector<Assignment> targets;    // what do() sets: the same parents for every image
  std::vector<Assignment> factual{};  // what is known of the image; needed by Encoding::factual
};

// With which parents abduction encodes the image into its noise.
enum class Encoding { unconditional, factual };
const char* name_of(Encoding encoding);
// Throws Error naming the choices.
Encoding parse_encoding(std::string_view name);

// How parents reach the image. Conditional networks and predictors may know different parents.
struct ParentNetworks {
  EpsilonModel epsilon;  // told nothing
  // eps(x_t, t | parents), one assignment per image; it is not told the parents left out. Or empty.
  std::function<EpsilonModel(std::span<const Assignment>)> conditional{};
  std::vector<std::string> conditions{};  // the parents that it can be told
  // By parent: grad log p(parent = value | x_t), one value per image.
  std::map<std::string, std::function<GuidanceGradient(std::span<const double>)>> predictors{};
  double predictor_scale = 1;  // s of a predictor's gradient, where a condition's is 1
};

// What guides: gradients of classifiers and regressors, the model itself told the parents, or the
// sum of both.
enum class GuidanceKind { classifier, implicit, both };
const char* name_of(GuidanceKind kind);
// Throws Error naming the choices.
GuidanceKind parse_guidance_kind(std::string_view name);
// Implicit where the model can be told a parent.
GuidanceKind default_guidance(const DiffusionModel& model);

// The networks that guide so: the model with its conditions, and `predictors` by the parent that
// each predicts. Throws Error when one that is needed is not there. The result refers to all.
ParentNetworks guiding_networks(
    GuidanceKind kind, const DiffusionModel& model,
    const std::map<std::string, const AntiCausalPredictor*>& predictors);

// Throws Error unless these parents are known of every image.
void require_factual(std::span<const std::string> parents, std::span<const Assignment> factual);

// Every network that knows a parent. Encoding::factual encodes with all factual
// parents, by conditions and gradients alike, and predicts with those that do() leaves alone still
// in place; unconditional encodes with none and predicts with the parents of do() alone. Throws
// Error when nothing knows a parent that do() sets, or a factual value is missing.
Action act(const ParentNetworks& networks, const Intervention& intervention, Encoding encoding);

}  // namespace diffscm
