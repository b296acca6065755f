#include "causal/mechanisms/features.h"

#include <algorithm>
#include <cmath>

#include "engine/io/file.h"
#include "kernels/error.h"
#include "models/condition.h"

namespace diffscm::causal {

using nlohmann::json;

Standard Standard::of(std::span<const double> numbers) {
  if (numbers.empty()) return {};
  const auto n = static_cast<double>(numbers.size());
  // In a unit, a power of two, in which squares neither overflow nor vanish.
  double largest = 0, sum = 0, squares = 0;
  for (const double x : numbers) largest = std::max(largest, std::abs(x));
  const double unit = largest > 0 ? std::ldexp(1.0, std::ilogb(largest)) : 1;
  for (const double x : numbers) sum += x / unit;
  for (const double x : numbers) squares += (x / unit - sum / n) * (x / unit - sum / n);
  const double deviation = std::sqrt(squares / n) * unit;
  return {sum / n * unit, deviation > 0 ? deviation : 1};
}

void to_json(json& j, const Standard& s) {
  j = {s.mean, s.deviation};
}

void from_json(const json& j, Standard& s) {
  require(j.is_array() && j.size() == 2 && j[0].is_number() && j[1].is_number(),
          "a mean and a deviation cannot be {}", io::show(j.dump()));
  s = {j[0].get<double>(), j[1].get<double>()};
  require(std::isfinite(s.mean) && std::isfinite(s.deviation) && s.deviation > 0,
          "a mean and a deviation cannot be {}", io::show(j.dump()));
}

double quantile(std::span<const double> sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

double nearest_within(const data::Attribute& attribute, double value) {
  return std::min(std::max(value, attribute.low), attribute.high);
}

Features::Features(std::span<const Node> parents) : standards_(parents.size()) {
  for (const Node& parent : parents) {
    require(parent.kind != NodeKind::image, "its parent {} is an image", io::show(parent.name()));
    names_.push_back(parent.name());
    states_.push_back(parent.is_discrete() ? std::ssize(parent.attribute.states) : 0);
    size_ += std::max<int64_t>(1, states_.back());
  }
}

void Features::fit(Parents parents) {
  for (size_t p = 0; p < states_.size(); ++p)
    if (states_[p] == 0) standards_[p] = Standard::of(parents[p]->numbers);
}

void Features::write(Parents parents, int64_t row, std::span<float> inputs) const {
  size_t at = 0;
  for (size_t p = 0; p < states_.size(); ++p) {
    const double value = parents[p]->numbers[static_cast<size_t>(row)];
    if (states_[p] == 0) {
      inputs[at++] = static_cast<float>(
          standardised(names_[p], value, standards_[p].mean, standards_[p].deviation));
      continue;
    }
    for (int64_t k = 0; k < states_[p]; ++k) inputs[at++] = k == static_cast<int64_t>(value);
  }
}

json Features::state() const {
  return standards_;
}

void Features::load(const json& state) {
  require(state.is_array() && state.size() == standards_.size(), "features of {} parents, not {}",
          state.size(), standards_.size());
  state.get_to(standards_);
}

}  // namespace diffscm::causal
