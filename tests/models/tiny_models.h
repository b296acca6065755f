// The smallest members of the family, and their parameters as tests want them.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "models/checkpoint.h"
#include "models/classifier.h"
#include "models/regressor.h"
#include "models/unet.h"

namespace diffscm::testing {

inline UNetConfig tiny_unet_config() {
  UNetConfig c;
  c.image_size = 8;
  c.channel_mult = {1, 1};
  return c;
}

inline ClassifierConfig tiny_classifier_config() {
  ClassifierConfig c;
  c.image_size = 8;
  c.channel_mult = {1, 1};
  c.head_channels = 32;
  return c;
}

// Of a number with mean 3 and deviation 0.5.
inline RegressorConfig tiny_regressor_config() {
  RegressorConfig c;
  c.image_size = 8;
  c.channel_mult = {1, 1};
  c.head_channels = 32;
  c.attribute = {.name = "thickness", .mean = 3, .deviation = 0.5};
  c.sigma = {{0, 0.1}, {400, 0.5}, {999, 0.8}};
  return c;
}

inline Tensor random_tensor(Shape shape, uint32_t seed, float scale = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(numel(shape)));
  for (float& v : values) v = scale * normal(generator);
  return Tensor::from(values, std::move(shape));
}

// Adds noise to every parameter, so that no zero-initialised layer hides what is behind it.
template <class Model>
void randomise(Model& model, uint32_t seed = 1, float scale = 0.05f) {
  for (const auto& [name, p] : named_parameters(model)) {
    std::vector<float> values = p->variable.value().to_vector();
    const std::vector<float> noise = random_tensor(p->variable.shape(), ++seed, scale).to_vector();
    for (size_t i = 0; i < values.size(); ++i) values[i] += noise[i];
    p->variable = Variable(Tensor::from(values, p->variable.shape()));
  }
}

template <class Model>
void want_gradients(Model& model) {
  for (const auto& [name, p] : named_parameters(model))
    p->variable = Variable::leaf(p->variable.value().clone());
}

inline double dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * double{b[i]};
  return sum;
}

}  // namespace diffscm::testing
