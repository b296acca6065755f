#include "data/attribute.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <set>

#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::data {
namespace {

using nlohmann::json;

// As many names fit into a message of one line; of more, the nearest is named.
constexpr size_t kListed = 12;

// Insertions, deletions and replacements of bytes between the two (Levenshtein).
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0]++;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

std::string range_in_words(const Attribute& a) {
  if (std::isinf(a.low) && std::isinf(a.high)) return "a finite number";
  if (std::isinf(a.high)) return fmt::format("a number from {}", a.low);
  if (std::isinf(a.low)) return fmt::format("a number up to {}", a.high);
  return fmt::format("a number from {} to {}", a.low, a.high);
}

bool is_label(std::string_view name) {
  return name == "class" || name == "label";
}

// Of NAME in "NAME=..", the longest that is known; 0: none is.
size_t name_length(std::string_view text, std::span<const Attribute> attributes) {
  size_t length = 0;
  for (const Attribute& a : attributes)
    if (a.name.size() > length && text.starts_with(a.name) &&
        text.substr(a.name.size()).starts_with('='))
      length = a.name.size();
  return length;
}

// Of VALUE in "VALUE" or "VALUE,NAME=..": the longest of the states, which may hold commas and "=";
// else up to where the next name could begin.
size_t value_length(std::string_view text, const Attribute& attribute,
                    std::span<const Attribute> attributes) {
  const auto ends_at = [&](size_t at) { return at == text.size() || text[at] == ','; };
  std::optional<size_t> length;
  for (const std::string& state : attribute.states)
    if (text.starts_with(state) && ends_at(state.size()) && state.size() >= length.value_or(0))
      length = state.size();
  if (length) return *length;
  for (size_t comma = text.find(','); comma != std::string_view::npos;
       comma = text.find(',', comma + 1)) {
    const std::string_view next = text.substr(comma + 1);
    if (name_length(next, attributes) > 0 ||
        next.substr(0, next.find(',')).find('=') != std::string_view::npos)
      return comma;
  }
  return text.size();
}

}  // namespace

std::string choices(std::string_view text, const std::vector<std::string>& names) {
  if (names == numbered_category("", std::ssize(names)).states)
    return fmt::format("give 0 to {}", names.size() - 1);
  if (names.size() <= kListed) {
    std::string list;
    for (size_t i = 0; i < names.size(); ++i)
      list += (i == 0 ? "" : i + 1 == names.size() ? " or " : ", ") + io::show(names[i]);
    return "give " + list;
  }
  const std::string_view beginning = text.substr(0, 100);  // a user's text may be long
  // Those that hold the text as a part of them come first.
  const auto distance = [&](const std::string& name) {
    const bool part = !text.empty() && name.find(beginning) != std::string::npos;
    return std::pair(!part, edit_distance(beginning, name));
  };
  std::vector<std::pair<std::pair<bool, size_t>, size_t>> order;
  for (size_t i = 0; i < names.size(); ++i) order.emplace_back(distance(names[i]), i);
  std::ranges::partial_sort(order, order.begin() + 3);
  return fmt::format("the nearest of {} are {}, {} and {}", names.size(),
                     io::show(names[order[0].second]), io::show(names[order[1].second]),
                     io::show(names[order[2].second]));
}

double Attribute::parse(std::string_view text) const {
  if (is_category()) {
    const auto found = std::ranges::find(states, text);
    if (found == states.end())
      fail("{} {} is unknown: {}", name, io::show(text), choices(text, states));
    return static_cast<double>(found - states.begin());
  }
  double value = 0;
  const bool plus = text.size() > 1 && text[0] == '+' && text[1] != '-';
  const auto [end, error] = std::from_chars(text.data() + plus, text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    fail("{} is {}: give {}", name, io::show(text), range_in_words(*this));
  check(value);
  return value;
}

void Attribute::check(double value) const {
  if (is_category()) {
    require(value >= 0 && value < static_cast<double>(states.size()) && value == std::floor(value),
            "{} {} is not one of its {} states, numbered from 0", name, value, states.size());
  } else if (!(std::isfinite(value) && value >= low && value <= high)) {
    fail("{} is {}: give {}", name, value, range_in_words(*this));
  }
}

std::string Attribute::show(double value) const {
  if (!is_category()) return fmt::format("{}", value);
  check(value);
  return states[static_cast<size_t>(value)];
}

Attribute numbered_category(std::string name, int64_t states) {
  Attribute attribute{.name = std::move(name)};
  for (int64_t i = 0; i < states; ++i) attribute.states.push_back(std::to_string(i));
  return attribute;
}

const Attribute& find_attribute(std::span<const Attribute> attributes, std::string_view name) {
  const auto named = std::ranges::find(attributes, name, &Attribute::name);
  if (named != attributes.end()) return *named;
  const auto category = std::ranges::find_if(attributes, &Attribute::is_category);
  if (is_label(name) && category != attributes.end()) return *category;
  require(!attributes.empty(), "there is no attribute {}: the images have no labels",
          io::show(name));
  std::vector<std::string> names;
  for (const Attribute& a : attributes) names.push_back(a.name);
  fail("there is no attribute {}: {}", io::show(name), choices(name, names));
}

Assignment parse_assignment(std::string_view text, std::span<const Attribute> attributes) {
  Assignment assignment;
  for (std::string_view rest = text;;) {
    const size_t known = name_length(rest, attributes), equals = known > 0 ? known : rest.find('=');
    require(equals != std::string_view::npos && equals > 0, "{} is not NAME=VALUE, as in {}",
            io::show(rest), attributes.empty() ? "digit=5" : attributes[0].name + "=VALUE");
    const Attribute& attribute = find_attribute(attributes, rest.substr(0, equals));
    rest.remove_prefix(equals + 1);
    const size_t end = value_length(rest, attribute, attributes);
    require(assignment.emplace(attribute.name, attribute.parse(rest.substr(0, end))).second,
            "{} sets {} twice", io::show(text), attribute.name);
    if (end == rest.size()) return assignment;
    rest.remove_prefix(end + 1);
  }
}

std::string show(const Assignment& assignment, std::span<const Attribute> attributes) {
  std::string text;
  for (const auto& [name, value] : assignment) {
    const auto found = std::ranges::find(attributes, name, &Attribute::name);
    text += fmt::format("{}{}={}", text.empty() ? "" : ",", name,
                        found == attributes.end() ? fmt::format("{}", value) : found->show(value));
  }
  return text;
}

json attributes_to_json(std::span<const Attribute> attributes) {
  json all = json::array();
  for (const Attribute& a : attributes) {
    json j = {{"name", a.name}};
    if (a.is_category()) j["states"] = a.states;
    if (std::isfinite(a.low)) j["low"] = a.low;
    if (std::isfinite(a.high)) j["high"] = a.high;
    all.push_back(j);
  }
  return all;
}

std::vector<Attribute> attributes_from_json(const json& all, std::string_view where) {
  std::vector<Attribute> attributes;
  std::set<std::string> names;
  try {
    for (const json& j : all) {
      Attribute a{.name = j.at("name").get<std::string>()};
      a.states = j.value("states", a.states);
      a.low = j.value("low", a.low);
      a.high = j.value("high", a.high);
      const std::set<std::string> different(a.states.begin(), a.states.end());
      require(!a.name.empty() && names.insert(a.name).second &&
                  std::ssize(a.states) <= kMaxStates && different.size() == a.states.size() &&
                  a.low <= a.high,
              "{} has an unusable attribute {}", where, io::show(a.name));
      attributes.push_back(std::move(a));
    }
  } catch (const json::exception&) {
    fail("{} has attributes that are not understood", where);
  }
  return attributes;
}

}  // namespace diffscm::data
