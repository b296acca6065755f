#include "models/unsettle.h"

#include <random>

namespace diffscm {

void unsettle(std::span<Variable* const> parameters, uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<float> noise(0, 0.02f);
  for (Variable* p : parameters) {
    Tensor& value = p->mutable_value();
    float* v = value.mutable_data();
    for (int64_t i = 0; i < value.numel(); ++i) v[i] += noise(generator);
  }
}

}  // namespace diffscm
