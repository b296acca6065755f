#include "models/condition.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "models/config_fields.h"

namespace diffscm {

void to_json(nlohmann::json& j, const Condition& c) {
  j = {{"name", c.name}, {"classes", c.classes}};
  if (!c.is_category()) j.update({{"mean", c.mean}, {"deviation", c.deviation}});
}

void from_json(const nlohmann::json& j, Condition& c) {
  ConfigReader reader(j, "condition");
  reader.read("name", c.name);
  reader.read("classes", c.classes);
  require(c.classes >= 0 && c.classes <= 100'000,
          "condition '{}': {} classes, must be 0 (a number) to 100000", c.name, c.classes);
  if (!c.is_category()) {
    reader.read("mean", c.mean);
    reader.read("deviation", c.deviation);
    require(std::isfinite(c.mean) && std::isfinite(c.deviation) && c.deviation > 0,
            "condition '{}': mean {} and deviation {} must be finite, the latter positive", c.name,
            c.mean, c.deviation);
  }
  reader.finish();
}

int64_t feature_count(std::span<const Condition> conditions) {
  int64_t count = 0;
  for (const Condition& c : conditions) count += c.features();
  return count;
}

namespace {

void write_features(const Condition& c, double value, float* out) {
  if (std::isnan(value)) return;
  if (c.is_category()) {
    require(value >= 0 && value < static_cast<double>(c.classes) && value == std::floor(value),
            "'{}' = {}: the network knows the categories 0 to {}", c.name, value, c.classes - 1);
    out[static_cast<int64_t>(value)] = 1;
    return;
  }
  const double z = standardised(c.name, value, c.mean, c.deviation);
  out[0] = 1;
  out[1] = static_cast<float>(z);
  for (int k = 0; k < 3; ++k) {
    out[2 + 2 * k] = static_cast<float>(std::sin((1 << k) * z));
    out[3 + 2 * k] = static_cast<float>(std::cos((1 << k) * z));
  }
}

}  // namespace

double standardised(const std::string& name, double value, double mean, double deviation) {
  require(std::isfinite(value), "'{}' = {}: give a finite number", name, value);
  const double z = (value - mean) / deviation;
  require(std::abs(z) <= 1e18,
          "'{}' = {}: too far from the training data, whose mean is {:.6g} and deviation {:.6g}",
          name, value, mean, deviation);
  return z;
}

Tensor condition_features(std::span<const Condition> conditions, std::span<const double> values,
                          Target target) {
  require(!conditions.empty() && values.size() % conditions.size() == 0,
          "{} values for {} conditions", values.size(), conditions.size());
  const auto n = static_cast<int64_t>(values.size() / conditions.size());
  const int64_t columns = feature_count(conditions);
  std::vector<float> features(static_cast<size_t>(n * columns), 0.0f);
  float* out = features.data();
  const double* value = values.data();
  for (int64_t i = 0; i < n; ++i)
    for (const Condition& c : conditions) {
      write_features(c, *value++, out);
      out += c.features();
    }
  return Tensor::from(features, {n, columns}).to(target);
}

}  // namespace diffscm
