// Losses and softmax: value and gradient in one pass.
#pragma once

#include <cstdint>

namespace diffscm::kernels {

// loss[n] = mean_e (prediction - target)^2 for each sample; gradient = 2 (prediction - target) *
// weight / elements, where weight is the derivative of the total with respect to loss[n] (1/N for a
// batch mean). gradient may be null. Sums in double.
struct MseArgs {
  int64_t n, elements;
  float weight;
  const float* prediction;
  const float* target;
  float* loss;      // [N]
  float* gradient;  // [N, elements] or null
};
void check(const MseArgs&);

// log_p[n] = log softmax(logits[n])[label[n]]; probability = softmax(logits) if not null.
// gradient = weight * d log_p[n] / d logits = weight * (onehot - softmax), if not null.
// Cross-entropy is -mean log_p: weight = -1/N. Guidance ascends log_p: weight = 1.
// Requires 0 <= label < classes (callers check; the cpu target throws, the others cannot stop and
// write NaN to that sample's log_p and gradient).
struct LogSoftmaxArgs {
  int64_t n, classes;
  float weight;
  const float* logits;   // [N, classes]
  const int64_t* label;  // [N]
  float* log_p;          // [N]
  float* probability;    // [N, classes] or null
  float* gradient;       // [N, classes] or null
};
void check(const LogSoftmaxArgs&);

}  // namespace diffscm::kernels
