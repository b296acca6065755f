#include "apps/question.h"

#include <algorithm>

#include "data/match_states.h"
#include "diffusion/known_states.h"

namespace diffscm::apps {

namespace {

bool is_nameless(const std::string& category) {
  return category.empty() || category == "class" || category == "label";
}

const data::Attribute* parent_of(const AntiCausalPredictor& predictor,
                                 std::span<const data::Attribute> attributes) {
  if (predictor.is_classifier()) return find_category(predictor.attribute(), attributes);
  for (const data::Attribute& a : attributes)
    if (a.name == predictor.attribute() && !a.is_category()) return &a;
  return nullptr;
}

// What it predicts as its training data had it.
data::Attribute own_attribute(const AntiCausalPredictor& predictor) {
  if (predictor.is_classifier()) return known_category(predictor);
  const nlohmann::json& data = predictor.info().data;
  if (data.is_object() && data.contains("attributes"))
    for (data::Attribute& a : data::attributes_from_json(data["attributes"], predictor.info().path))
      if (a.name == predictor.attribute()) return std::move(a);
  return {.name = predictor.attribute()};
}

}  // namespace

const data::Attribute* find_category(const std::string& name,
                                     std::span<const data::Attribute> attributes) {
  const data::Attribute* first = nullptr;
  for (const data::Attribute& a : attributes) {
    if (!a.is_category()) continue;
    if (a.name == name) return &a;
    if (first == nullptr) first = &a;
  }
  return first != nullptr && (is_nameless(name) || is_nameless(first->name)) ? first : nullptr;
}

void agree_on_states(data::Dataset& dataset, const DiffusionModel& model,
                     std::span<const AntiCausalPredictor> predictors) {
  number_states(dataset, model);
  for (const AntiCausalPredictor& predictor : predictors) {
    if (!predictor.is_classifier()) continue;
    const data::Attribute* parent = find_category(predictor.attribute(), dataset.attributes);
    if (parent == nullptr || std::ranges::find(model.conditions(), parent->name,
                                               &Condition::name) != model.conditions().end())
      continue;
    data::Attribute own = known_category(predictor);
    const std::string of_predictor = whose(own, predictor.info());
    own.name = parent->name;
    data::number_states(dataset, own, of_predictor);
  }
}

std::vector<data::Attribute> nameable(const data::Dataset& dataset, const DiffusionModel& model,
                                      std::span<const AntiCausalPredictor> predictors) {
  std::vector<data::Attribute> all = dataset.attributes;
  const auto has = [&](const auto& is) { return std::any_of(all.begin(), all.end(), is); };
  for (const Condition& c : model.conditions())
    if (!has([&](const data::Attribute& a) { return a.name == c.name; }))
      all.push_back(c.is_category() ? known_category(model, c) : data::Attribute{.name = c.name});
  for (const AntiCausalPredictor& predictor : predictors)
    if (parent_of(predictor, all) == nullptr) all.push_back(own_attribute(predictor));
  return all;
}

std::map<std::string, const AntiCausalPredictor*> by_parent(
    std::span<const AntiCausalPredictor> predictors, std::span<const data::Attribute> attributes) {
  std::map<std::string, const AntiCausalPredictor*> parents;
  for (const AntiCausalPredictor& predictor : predictors) {
    const data::Attribute* parent = parent_of(predictor, attributes);
    require(parent != nullptr, "{} predicts '{}', which nothing here is called",
            predictor.info().path, predictor.attribute());
    if (predictor.is_classifier())
      require_same_states(predictor.info(), known_category(predictor), *parent);
    const auto [at, is_new] = parents.emplace(parent->name, &predictor);
    require(is_new, "{} and {} both predict '{}': give one of them", at->second->info().path,
            predictor.info().path, parent->name);
  }
  return parents;
}

Assignment parse_intervention(const std::string& text,
                              std::span<const data::Attribute> attributes) {
  const bool digit = std::any_of(attributes.begin(), attributes.end(),
                                 [](const data::Attribute& a) { return a.name == "digit"; });
  const bool alias = !digit && text.starts_with("digit=");
  try {
    return data::parse_assignment(alias ? "class" + text.substr(5) : text, attributes);
  } catch (const Error& e) {
    fail("--do {}: {}", text, e.what());
  }
}

}  // namespace diffscm::apps
