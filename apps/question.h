// What `counterfactual` is asked: --do, --guidance and --encode, once models and data are known.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "apps/inference.h"
#include "apps/judge.h"
#include "causal/intervention.h"

namespace diffscm::apps {

struct Query {
  const DiffusionModel& model;
  std::map<std::string, const AntiCausalPredictor*> guides;  // by the parent that each predicts
  const std::optional<Judge>& judge;
  Selection selection;
  Assignment target;        // what do() sets
  std::string label;        // the category that is judged, as data and do() call it
  ParentNetworks networks;  // those that guide
  Encoding encoding;
  std::vector<data::Attribute> attributes;  // what do() can name

  // The class that do() sets, or -1.
  int64_t target_class() const {
    const auto set = target.find(label);
    return set == target.end() ? -1 : static_cast<int64_t>(set->second);
  }
};

// Numbers the states of the data's categories as the networks do: the model that is told them, else
// the classifier that predicts them. Throws Error naming a state that they do not know.
void agree_on_states(data::Dataset& dataset, const DiffusionModel& model,
                     std::span<const AntiCausalPredictor> predictors);

// What do() can name: the data's attributes, then what the networks know besides. "class" and
// "label" stand for the first category, and so does "digit" where nothing has that name.
std::vector<data::Attribute> nameable(const data::Dataset& dataset, const DiffusionModel& model,
                                      std::span<const AntiCausalPredictor> predictors);

// What a network calls `name`, among these: the category of that name or, where either has none but
// "class", the first category; else null.
const data::Attribute* find_category(const std::string& name,
                                     std::span<const data::Attribute> attributes);

// The predictors by the parent that each predicts, as do() names it. Throws Error when two predict
// the same, and when a classifier numbers the states in another way.
std::map<std::string, const AntiCausalPredictor*> by_parent(
    std::span<const AntiCausalPredictor> predictors, std::span<const data::Attribute> attributes);

// "digit=5,thickness=3". Throws Error naming the part that is wrong.
Assignment parse_intervention(const std::string& text, std::span<const data::Attribute> attributes);

}  // namespace diffscm::apps
