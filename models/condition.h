// What a network is told about an image: the values of its parents in the causal graph, as features
// that one linear layer turns into an embedding.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "engine/tensor.h"

namespace diffscm {

// One attribute: a category 0 .. classes-1, or a number, standardised by the mean and deviation of
// the training data.
struct Condition {
  std::string name;
  int64_t classes = 0;  // 0: a number
  double mean = 0, deviation = 1;

  bool is_category() const { return classes > 0; }
  // A category's one-hot code; of a number z: 1, z, and sine and cosine of z, 2z, 4z.
  int64_t features() const { return is_category() ? classes : 8; }
};
void to_json(nlohmann::json& json, const Condition& condition);
// Strict: unknown, missing or out-of-range entries throw Error naming them.
void from_json(const nlohmann::json& json, Condition& condition);

// z = (value - mean) / deviation. Throws Error naming a value that is not finite, or so many
// deviations away (1e18) that what a network makes of it in f32 would not be.
double standardised(const std::string& name, double value, double mean, double deviation);

int64_t feature_count(std::span<const Condition> conditions);

// values [N][conditions], row-major, NaN for "not known" (the null value, whose features are all
// zero) -> [N, feature_count] on `target`. Throws Error for a value that is no category.
Tensor condition_features(std::span<const Condition> conditions, std::span<const double> values,
                          Target target);

}  // namespace diffscm
