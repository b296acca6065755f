// Trained networks asked by the tests themselves, to compare with what the commands say of them.
#pragma once

#include "models/autoencoder.h"
#include "models/checkpoint.h"
#include "models/classifier.h"
#include "models/oracle.h"
#include "models/vae.h"
#include "tests/apps/commands.h"

namespace diffscm {

inline Tensor tensor(const io::NpyArray& array) {
  return Tensor::from(array.to_floats(), array.shape);
}

// Softmax in double of logits [N, classes].
inline std::vector<std::vector<double>> probabilities(const Tensor& logits) {
  const std::vector<float> flat = logits.to_vector();
  std::vector<std::vector<double>> rows;
  for (auto row = flat.begin(); row != flat.end(); row += logits.dim(1)) {
    double sum = 0;
    for (int64_t c = 0; c < logits.dim(1); ++c) sum += std::exp(row[c]);
    rows.emplace_back();
    for (int64_t c = 0; c < logits.dim(1); ++c) rows.back().push_back(std::exp(row[c]) / sum);
  }
  return rows;
}

inline int64_t most_likely(const std::vector<double>& p) {
  return std::max_element(p.begin(), p.end()) - p.begin();
}

// What the guiding classifier of a run thinks of clean images [N,H,W,C].
inline std::vector<std::vector<double>> classify(const std::string& run, const Tensor& images) {
  const NoGrad no_grad;
  const auto loaded = load_model<Classifier>(run, Target::cpu);
  ForwardContext context;
  return probabilities(
      loaded.model.forward(images, Tensor::zeros({images.dim(0)}), context).value());
}

// Mean |a - b| of image n in grey levels, of [N,H,W,C] in [-1, 1].
inline double l1(const Tensor& a, const Tensor& b, int64_t n) {
  const std::vector<float> x = a.slice(n, n + 1).to_vector(), y = b.slice(n, n + 1).to_vector();
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += std::abs(x[i] - y[i]);
  return 127.5 * sum / static_cast<double>(x.size());
}

}  // namespace diffscm
