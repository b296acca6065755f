#include "data/match_states.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::data {
namespace {

bool is_numbered(const Attribute& category) {
  return category.states == numbered_category("", std::ssize(category.states)).states;
}

}  // namespace

std::vector<double> match_states(const Attribute& ours, std::string_view whose,
                                 const Attribute& theirs) {
  std::unordered_map<std::string_view, double> place;
  for (const std::string& name : ours.states) place.emplace(name, place.size());
  std::vector<double> number;
  const std::string* unknown = nullptr;
  for (const std::string& name : theirs.states) {
    if (const auto found = place.find(name); found != place.end())
      number.push_back(found->second);
    else if (unknown == nullptr)
      unknown = &name;
  }
  if (unknown == nullptr) return number;
  require(number.empty(), "{} has no state {}, as in the data: {}", whose, io::show(*unknown),
          choices(*unknown, ours.states));
  const size_t known = ours.states.size(), there = theirs.states.size();
  require(known == there || (there < known && is_numbered(theirs)),
          "{} has {} states, in the data {} has {}, such as {}: {}", whose, known,
          io::show(theirs.name), there, io::show(*unknown), choices(*unknown, ours.states));
  for (size_t k = 0; k < there; ++k) number.push_back(static_cast<double>(k));
  return number;
}

bool same_states(const Attribute& ours, std::string_view whose, const Attribute& theirs) {
  const std::vector<double> number = match_states(ours, whose, theirs);
  for (size_t k = 0; k < number.size(); ++k)
    if (number[k] != static_cast<double>(k)) return false;
  return theirs.states.size() == ours.states.size();
}

void number_states(Dataset& dataset, const Attribute& ours, std::string_view whose) {
  const auto found = std::ranges::find(dataset.attributes, ours.name, &Attribute::name);
  if (found == dataset.attributes.end() || !found->is_category() ||
      same_states(ours, whose, *found))
    return;
  const std::vector<double> number = match_states(ours, whose, *found);
  // Labels without names keep having none.
  found->states =
      is_numbered(*found) ? numbered_category("", std::ssize(ours.states)).states : ours.states;
  std::vector<double>& values =
      dataset.values[static_cast<size_t>(found - dataset.attributes.begin())];
  for (double& v : values) v = number[static_cast<size_t>(v)];
  if (&*found != &dataset.label_attribute()) return;
  dataset.classes = std::ssize(found->states);
  dataset.labels.assign(values.begin(), values.end());
  const auto plausible = std::exchange(dataset.plausible, {});
  if (!plausible.empty()) dataset.plausible.resize(found->states.size());
  for (size_t k = 0; k < plausible.size(); ++k)
    for (const int64_t other : plausible[k])
      dataset.plausible[static_cast<size_t>(number[k])].push_back(
          static_cast<int64_t>(number[static_cast<size_t>(other)]));
}

}  // namespace diffscm::data
