#include "causal/intervention.h"

#include <algorithm>

namespace diffscm {

const char* name_of(Encoding encoding) {
  return encoding == Encoding::factual ? "factual" : "unconditional";
}

Encoding parse_encoding(std::string_view name) {
  for (const Encoding encoding : {Encoding::unconditional, Encoding::factual})
    if (name == name_of(encoding)) return encoding;
  fail("unknown encoding '{}': choose unconditional or factual", name);
}

const char* name_of(GuidanceKind kind) {
  switch (kind) {
    case GuidanceKind::classifier:
      return "classifier";
    case GuidanceKind::implicit:
      return "implicit";
    case GuidanceKind::both:
      return "both";
  }
  return "?";
}

GuidanceKind parse_guidance_kind(std::string_view name) {
  for (const GuidanceKind kind :
       {GuidanceKind::classifier, GuidanceKind::implicit, GuidanceKind::both})
    if (name == name_of(kind)) return kind;
  fail("unknown guidance '{}': choose classifier, implicit or both", name);
}

GuidanceKind default_guidance(const DiffusionModel& model) {
  return model.is_conditional() ? GuidanceKind::implicit : GuidanceKind::classifier;
}

ParentNetworks guiding_networks(
    GuidanceKind kind, const DiffusionModel& model,
    const std::map<std::string, const AntiCausalPredictor*>& predictors) {
  ParentNetworks networks{.epsilon = model.epsilon()};
  if (kind != GuidanceKind::classifier) {
    require(model.is_conditional(), "{} guidance: {} cannot be told any parent", name_of(kind),
            model.info().path);
    for (const Condition& c : model.conditions()) networks.conditions.push_back(c.name);
    networks.conditional = [&model](std::span<const Assignment> parents) {
      return model.epsilon(parents);
    };
  }
  if (kind != GuidanceKind::implicit) {
    require(!predictors.empty(), "{} guidance: give a classifier, or of a number a regressor",
            name_of(kind));
    for (const auto& [parent, predictor] : predictors)
      networks.predictors[parent] = [predictor = predictor](std::span<const double> values) {
        return predictor->gradient(values);
      };
  }
  return networks;
}

namespace {

std::vector<std::string> parents_of(const Intervention& intervention) {
  require(!intervention.targets.empty(), "an intervention on no image");
  std::vector<std::string> parents;
  for (const auto& [name, value] : intervention.targets[0]) parents.push_back(name);
  require(!parents.empty(), "do() sets nothing: give it a parent and a value");
  for (const Assignment& target : intervention.targets)
    require(target.size() == parents.size() &&
                std::all_of(parents.begin(), parents.end(),
                            [&](const std::string& name) { return target.contains(name); }),
            "do() sets other parents for one image than for another");
  return parents;
}

// Of each predictor whose parent is among them.
std::vector<Guidance::Term> gradients_to(const ParentNetworks& networks,
                                         std::span<const Assignment> parents) {
  std::vector<Guidance::Term> terms;
  for (const auto& [parent, gradient] : networks.predictors) {
    if (!parents[0].contains(parent)) continue;
    std::vector<double> values;
    for (const Assignment& image : parents) values.push_back(image.at(parent));
    terms.push_back({gradient(values), networks.predictor_scale});
  }
  return terms;
}

}  // namespace

void require_factual(std::span<const std::string> parents, std::span<const Assignment> factual) {
  for (const Assignment& known : factual)
    for (const std::string& name : parents)
      require(known.contains(name),
              "factual encoding: the data do not say the '{}' of an image; encode unconditionally",
              name);
}

Action act(const ParentNetworks& networks, const Intervention& intervention, Encoding encoding) {
  const std::vector<std::string> parents = parents_of(intervention);
  const auto is_condition = [&](const std::string& name) {
    const auto& known = networks.conditions;
    return std::find(known.begin(), known.end(), name) != known.end();
  };
  for (const std::string& name : parents)
    require(is_condition(name) || networks.predictors.contains(name),
            "nothing here knows '{}': give a classifier or regressor of it, or a model conditional "
            "on it",
            name);

  std::vector<Assignment> before(intervention.targets.size());  // what encoding is told
  if (encoding == Encoding::factual) {
    require(intervention.factual.size() == before.size(),
            "the parents of {} images are known, of {} asked about", intervention.factual.size(),
            before.size());
    before = intervention.factual;
    require_factual(networks.conditions, before);
    for (const auto& [parent, gradient] : networks.predictors)
      require_factual({&parent, 1}, before);
  }
  std::vector<Assignment> after = before;
  for (size_t i = 0; i < after.size(); ++i)
    for (const auto& [name, value] : intervention.targets[i]) after[i][name] = value;

  Action action{networks.epsilon};
  if (networks.conditional) action.epsilon = networks.conditional(before);
  if (std::any_of(parents.begin(), parents.end(), is_condition))
    action.guidance.conditions.push_back({networks.conditional(after)});
  action.guidance.gradients = gradients_to(networks, after);
  action.factual.gradients = gradients_to(networks, before);
  return action;
}

}  // namespace diffscm
