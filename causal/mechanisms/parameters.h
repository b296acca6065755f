// The parameters of a mechanism, read by name; what is not asked for is an error.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/attribute.h"
#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::causal {

class Parameters {
 public:
  explicit Parameters(const nlohmann::json& values) : values_(values) {}

  bool has(const std::string& key) {
    if (std::ranges::find(known_, key) == known_.end()) known_.push_back(key);
    return values_.contains(key);
  }
  // Throws Error naming the key when it is not there, or not a T.
  template <class T>
  T get(const std::string& key) {
    require(has(key), "{} is missing", key);
    return as<T>(key);
  }
  template <class T>
  T get(const std::string& key, T otherwise) {
    return has(key) ? as<T>(key) : otherwise;
  }
  // Of a text, the one of `choices` that it is.
  std::string choice(const std::string& key, const std::vector<std::string>& choices) {
    const std::string text = get<std::string>(key, choices.front());
    for (const std::string& choice : choices)
      if (choice == text) return text;
    fail("{} {} is unknown: {}", key, io::show(text), data::choices(text, choices));
  }
  double number(const std::string& key, double otherwise, double least, double most) {
    const double value = get<double>(key, otherwise);
    require(value >= least && value <= most, "{} is {}: give a number from {} to {}", key, value,
            least, most);
    return value;
  }
  // Throws Error naming the first key that nobody asked for.
  void finish() const {
    for (const auto& [key, value] : values_.items())
      require(std::ranges::find(known_, key) != known_.end(), "there is no parameter {}: {}",
              io::show(key), known_.empty() ? "it has none" : data::choices(key, known_));
  }

 private:
  template <class T>
  T as(const std::string& key) const {
    const nlohmann::json& value = values_[key];
    if constexpr (!std::is_same_v<T, bool>)
      require(!value.is_boolean(), "{} cannot be {}", key, value.dump());
    if constexpr (std::is_integral_v<T>)
      require(value.is_number_integer() || value.is_boolean(), "{} is {}: give a whole number", key,
              value.dump());
    try {
      return value.get<T>();
    } catch (const nlohmann::json::exception&) {
      fail("{} cannot be {}", key,
           io::show(value.is_string() ? value.get<std::string>() : value.dump()));
    }
  }

  const nlohmann::json& values_;
  std::vector<std::string> known_;
};

}  // namespace diffscm::causal
