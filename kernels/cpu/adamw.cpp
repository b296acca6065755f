// AdamW and the moving average of the weights in one pass. Nine memory streams and a dozen
// operations per parameter: bound by memory, so all that matters is to touch each array once.
#include <cmath>

#include "kernels/cpu/clones.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/table.h"

namespace diffscm::kernels::cpu {
namespace {

// The scalars of one step, rounded to f32 once, from double.
struct Coefficients {
  float gradient_scale, keep, b1, c1, b2, c2, rate, root_scale, eps, ema, ema_new;
};

DIFFSCM_INLINE float updated(const Coefficients& k, float gradient, float p, float& m, float& v) {
  const float g = gradient * k.gradient_scale;
  m = k.b1 * m + k.c1 * g;
  v = k.b2 * v + k.c2 * (g * g);
  // sqrt(v / (1 - b2^t)) = sqrt(v) * root_scale.
  return p * k.keep - k.rate * m / (std::sqrt(v) * k.root_scale + k.eps);
}

DIFFSCM_INLINE void update_leaf(int64_t n, const Coefficients& args, const float* gradient,
                                float* p, float* m, float* v) {
  const Coefficients k = args;  // a local copy: stores through p cannot change it
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) p[i] = updated(k, gradient[i], p[i], m[i], v[i]);
}
constexpr Clones<update_leaf> update;

DIFFSCM_INLINE void update_with_average_leaf(int64_t n, const Coefficients& args,
                                             const float* gradient, float* p, float* m, float* v,
                                             float* ema) {
  const Coefficients k = args;
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    p[i] = updated(k, gradient[i], p[i], m[i], v[i]);
    ema[i] = k.ema * ema[i] + k.ema_new * p[i];
  }
}
constexpr Clones<update_with_average_leaf> update_with_average;

}  // namespace

void adamw(const AdamwArgs& args, Stream) {
  if (args.n == 0) return;
  const double step = static_cast<double>(args.step);
  const double scalars[] = {args.lr, 1 - std::pow(args.beta1, step), 1 - std::pow(args.beta2, step),
                            args.ema_decay};
  const double* schedule = args.schedule ? args.schedule : scalars;
  const double lr = schedule[0], decay = schedule[3];
  const Coefficients k = {
      .gradient_scale = static_cast<float>(args.gradient_scale),
      .keep = static_cast<float>(1 - lr * args.weight_decay),
      .b1 = static_cast<float>(args.beta1),
      .c1 = static_cast<float>(1 - args.beta1),
      .b2 = static_cast<float>(args.beta2),
      .c2 = static_cast<float>(1 - args.beta2),
      .rate = static_cast<float>(lr / schedule[1]),
      .root_scale = static_cast<float>(1 / std::sqrt(schedule[2])),
      .eps = static_cast<float>(args.eps),
      .ema = static_cast<float>(decay),
      .ema_new = static_cast<float>(1 - decay),
  };
  parallel_ranges(args.n, 1 << 14, [&](int64_t begin, int64_t end) {
    const int64_t n = end - begin;
    if (args.ema) {
      update_with_average(n, k, args.gradient + begin, args.parameter + begin, args.m + begin,
                          args.v + begin, args.ema + begin);
    } else {
      update(n, k, args.gradient + begin, args.parameter + begin, args.m + begin, args.v + begin);
    }
  });
}

}  // namespace diffscm::kernels::cpu
