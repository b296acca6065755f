// What is known about an image besides its pixels: categories with named states, and numbers.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace diffscm::data {

constexpr int64_t kMaxStates = 100000;

struct Attribute {
  std::string name;
  std::vector<std::string> states = {};  // of a category, all different; empty: a number
  double low = -std::numeric_limits<double>::infinity();  // the range of a number
  double high = std::numeric_limits<double>::infinity();

  bool operator==(const Attribute&) const = default;
  bool is_category() const { return !states.empty(); }

  // The name of a state becomes its index, other text a number. Throws Error naming the states (the
  // nearest three of many), or the range.
  double parse(std::string_view text) const;
  // The inverse of parse: the state's name, or the number in as few digits as say it.
  std::string show(double value) const;
  // Throws Error unless `value` is the index of a state, or a number within the range.
  void check(double value) const;
};

// What to give instead of `text`, for messages: "give cat, dog or .." or, of many names, "the
// nearest of 40 are cat, rat and goat".
std::string choices(std::string_view text, const std::vector<std::string>& names);

// "class" with the states "0", "1", ...: labels without names.
Attribute numbered_category(std::string name, int64_t states);

// Attribute names to values: the index of a state, or the number. What is known of an image, or
// what do() sets.
using Assignment = std::map<std::string, double>;

// The attribute of that name; "class" and "label" also mean the first category. Throws Error naming
// those there are.
const Attribute& find_attribute(std::span<const Attribute> attributes, std::string_view name);

// "digit=5" or "digit=5,thickness=3.5". Throws Error naming the part that is wrong.
Assignment parse_assignment(std::string_view text, std::span<const Attribute> attributes);
// The inverse, in order of name. Values of unknown attributes are shown as numbers.
std::string show(const Assignment& assignment, std::span<const Attribute> attributes);

// [{"name": "class", "states": ["cat", "dog"]}, {"name": "width", "low": 0, "high": 9}], as model
// files keep it. Reading throws Error, naming `where`, on anything else.
nlohmann::json attributes_to_json(std::span<const Attribute> attributes);
std::vector<Attribute> attributes_from_json(const nlohmann::json& json, std::string_view where);

}  // namespace diffscm::data
