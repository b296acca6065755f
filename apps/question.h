// What `counterfactual` is asked: --do, --guidance and --encode, once models and data are known.
#pragma once

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
  const AntiCausalPredictor* predictor;  // guides; or null
  const std::optional<Judge>& judge;
  Selection selection;
  Assignment target;        // what do() sets
  std::string label;        // the parent that the classifier predicts, as data and do() call it
  ParentNetworks networks;  // those that guide
  Encoding encoding;
  std::vector<data::Attribute> attributes;  // what do() can name

  // The class that do() sets, or -1.
  int64_t target_class() const {
    const auto set = target.find(label);
    return set == target.end() ? -1 : static_cast<int64_t>(set->second);
  }
};

// What do() can name: the data's attributes, then what the networks know besides. "class" and
// "label" stand for the first category, and so does "digit" where nothing has that name.
std::vector<data::Attribute> nameable(const data::Dataset& dataset, const DiffusionModel& model,
                                      const AntiCausalPredictor* predictor);

// "digit=5,thickness=3". Throws Error naming the part that is wrong.
Assignment parse_intervention(const std::string& text, std::span<const data::Attribute> attributes);

}  // namespace diffscm::apps
