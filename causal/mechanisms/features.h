// How networks are told numbers and states: numbers standardised, states one-hot.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "causal/mechanism.h"

namespace diffscm::causal {

// z = (x - mean) / deviation, of the data that a mechanism was fitted to.
struct Standard {
  double mean = 0, deviation = 1;

  // Of numbers that are all the same the deviation is 1.
  static Standard of(std::span<const double> numbers);
  double to(double x) const { return (x - mean) / deviation; }
  double from(double z) const { return mean + deviation * z; }
};
// Strict.
void to_json(nlohmann::json& json, const Standard& standard);
void from_json(const nlohmann::json& json, Standard& standard);

// Of sorted numbers, numpy's linear one; q in [0, 1].
double quantile(std::span<const double> sorted, double q);

// The nearest to a number within the attribute's range.
double nearest_within(const data::Attribute& attribute, double value);

// The parents of a node as the inputs of a network.
class Features {
 public:
  // Throws Error naming a parent that is an image.
  explicit Features(std::span<const Node> parents);

  int64_t size() const { return size_; }
  void fit(Parents parents);
  // Row `row` of the parents into size() inputs. Throws Error for a number that standardised()
  // (models/condition.h) refuses.
  void write(Parents parents, int64_t row, std::span<float> inputs) const;

  nlohmann::json state() const;
  void load(const nlohmann::json& state);

 private:
  std::vector<std::string> names_;
  std::vector<int64_t> states_;      // of each parent; 0: a number
  std::vector<Standard> standards_;  // of each parent; unused for states
  int64_t size_ = 0;
};

}  // namespace diffscm::causal
