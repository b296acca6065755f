#include "apps/question.h"

#include <algorithm>

namespace diffscm::apps {

std::vector<data::Attribute> nameable(const data::Dataset& dataset, const DiffusionModel& model,
                                      const AntiCausalPredictor* predictor) {
  std::vector<data::Attribute> all = dataset.attributes;
  const auto has = [&](const auto& is) { return std::any_of(all.begin(), all.end(), is); };
  for (const Condition& c : model.conditions())
    if (!has([&](const data::Attribute& a) { return a.name == c.name; }))
      all.push_back(c.is_category() ? data::numbered_category(c.name, c.classes)
                                    : data::Attribute{.name = c.name});
  if (predictor && !has([](const data::Attribute& a) { return a.is_category(); }))
    all.push_back(data::numbered_category("class", predictor->classes()));
  return all;
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
