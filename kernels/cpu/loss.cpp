// Losses: the value and its gradient in one pass, one sample per task.
#include <cmath>

#include "kernels/cpu/clones.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/table.h"

namespace diffscm::kernels::cpu {
namespace {

// Sum of squared differences in double. Sixteen running sums, because one alone would make each
// addition wait for the one before it; they are added up in a fixed order.
DIFFSCM_INLINE double squared_error_leaf(int64_t n, const float* a, const float* b) {
  constexpr int kLanes = 16;
  double lane[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int j = 0; j < kLanes; ++j) {
      const double d = static_cast<double>(a[i + j]) - static_cast<double>(b[i + j]);
      lane[j] += d * d;
    }
  }
  for (int j = 0; i < n; ++i, ++j) {
    const double d = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    lane[j] += d * d;
  }
  double sum = 0;
  for (const double part : lane) sum += part;
  return sum;
}
constexpr Clones<squared_error_leaf> squared_error;

DIFFSCM_INLINE void scaled_difference_leaf(int64_t n, float scale, const float* a, const float* b,
                                           float* y) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = scale * (a[i] - b[i]);
}
constexpr Clones<scaled_difference_leaf> scaled_difference;

}  // namespace

void mse(const MseArgs& args, Stream) {
  if (args.n == 0) return;
  const float scale = static_cast<float>(2.0 * args.weight / static_cast<double>(args.elements));
  parallel_tasks(args.n, args.n * args.elements, [&](int64_t n) {
    const int64_t at = n * args.elements;
    const float* prediction = args.prediction + at;
    const float* target = args.target + at;
    args.loss[n] = static_cast<float>(squared_error(args.elements, prediction, target) /
                                      static_cast<double>(args.elements));
    if (args.gradient)
      scaled_difference(args.elements, scale, prediction, target, args.gradient + at);
  });
}

// A handful of classes per sample: plain double arithmetic, nothing to vectorise.
void log_softmax(const LogSoftmaxArgs& args, Stream) {
  if (args.n == 0) return;
  for (int64_t n = 0; n < args.n; ++n) {
    require(args.label[n] >= 0 && args.label[n] < args.classes,
            "log_softmax: label {} of sample {} is outside 0 .. {}", args.label[n], n,
            args.classes - 1);
  }
  parallel_tasks(args.n, args.n * args.classes * 32, [&](int64_t n) {
    const float* logits = args.logits + n * args.classes;
    float highest = logits[0];
    for (int64_t k = 1; k < args.classes; ++k) highest = std::max(highest, logits[k]);
    double sum = 0;
    for (int64_t k = 0; k < args.classes; ++k)
      sum += std::exp(static_cast<double>(logits[k]) - static_cast<double>(highest));
    const double lse = static_cast<double>(highest) + std::log(sum);
    const int64_t label = args.label[n];
    args.log_p[n] = static_cast<float>(static_cast<double>(logits[label]) - lse);
    for (int64_t k = 0; k < args.classes && (args.probability || args.gradient); ++k) {
      const double p = std::exp(static_cast<double>(logits[k]) - lse);
      if (args.probability) args.probability[n * args.classes + k] = static_cast<float>(p);
      if (args.gradient) {
        args.gradient[n * args.classes + k] =
            static_cast<float>(static_cast<double>(args.weight) * ((k == label ? 1.0 : 0.0) - p));
      }
    }
  });
}

}  // namespace diffscm::kernels::cpu
