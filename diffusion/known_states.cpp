#include "diffusion/known_states.h"

#include "data/match_states.h"
#include "engine/io/file.h"

namespace diffscm {

data::Attribute known_category(const ModelInfo& info, const std::string& name, int64_t states) {
  if (info.data.is_object() && info.data.contains("attributes")) {
    for (data::Attribute& a : data::attributes_from_json(info.data["attributes"], info.path))
      if (std::ssize(a.states) == states && (name.empty() || a.name == name)) return std::move(a);
  }
  return data::numbered_category(name.empty() ? "class" : name, states);
}

data::Attribute known_category(const AntiCausalPredictor& classifier) {
  return known_category(classifier.info(), classifier.attribute(), classifier.classes());
}

data::Attribute known_category(const DiffusionModel& model, const Condition& category) {
  return known_category(model.info(), category.name, category.classes);
}

void number_states(data::Dataset& dataset, const DiffusionModel& model) {
  for (const Condition& c : model.conditions()) {
    if (!c.is_category()) continue;
    const data::Attribute own = known_category(model, c);
    data::number_states(dataset, own, whose(own, model.info()));
  }
}

void require_same_states(const ModelInfo& info, const data::Attribute& own,
                         const data::Attribute& category) {
  require(data::same_states(own, whose(own, info), category),
          "{} has the states of {} in another order: take networks of the same training data",
          whose(own, info), io::show(category.name));
}

std::string whose(const data::Attribute& own, const ModelInfo& info) {
  return fmt::format("{} of {}", io::show(own.name), info.path);
}

}  // namespace diffscm
