// What the numbers of a network's categories mean: it keeps the names of its training data.
#pragma once

#include <string>

#include "data/dataset.h"
#include "diffusion/anti_causal_predictor.h"

namespace diffscm {

// The category of that name ("": the first) with so many states, as the network's training data had
// it; numbered where its file does not say.
data::Attribute known_category(const ModelInfo& info, const std::string& name, int64_t states);
data::Attribute known_category(const AntiCausalPredictor& classifier);
data::Attribute known_category(const DiffusionModel& model, const Condition& category);

// Numbers the states of the data's categories as the model, of those that it is told, does. Throws
// Error naming a state that it does not know.
void number_states(data::Dataset& dataset, const DiffusionModel& model);

// Throws Error unless the network of that file means by `own` the states that `category`, which has
// them all, numbers as it does.
void require_same_states(const ModelInfo& info, const data::Attribute& own,
                         const data::Attribute& category);

// The network's, for messages: "class" of FILE.
std::string whose(const data::Attribute& own, const ModelInfo& info);

}  // namespace diffscm
