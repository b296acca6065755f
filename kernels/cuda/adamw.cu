// AdamW and the moving average of the weights in one pass over the parameter arena. Nine memory
// streams and a dozen operations per parameter: bound by memory, so every array is touched once, 16
// bytes at a time, with all five loads of a vector under way together.
//
// A recorded training step reads {lr, 1 - b1^t, 1 - b2^t, ema decay} from memory; otherwise the
// launcher computes the same four numbers. What follows from them is computed in double by one
// thread of each block and rounded to f32 once, as on cpu.
//
// Multiply-adds are written out, so that nvcc and the emulator round alike.
#include <cmath>

#include "kernels/cuda/device/elements.h"
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

struct Schedule {
  double lr, correction1, correction2, ema_decay;
};

// The scalars of one step.
struct Coefficients {
  float gradient_scale, keep, b1, c1, b2, c2, rate, root_scale, eps, ema, ema_new;
};

__device__ inline Coefficients coefficients(const AdamwArgs& args, const Schedule& s) {
  return {
      .gradient_scale = static_cast<float>(args.gradient_scale),
      .keep = static_cast<float>(1 - s.lr * args.weight_decay),
      .b1 = static_cast<float>(args.beta1),
      .c1 = static_cast<float>(1 - args.beta1),
      .b2 = static_cast<float>(args.beta2),
      .c2 = static_cast<float>(1 - args.beta2),
      .rate = static_cast<float>(s.lr / s.correction1),
      .root_scale = static_cast<float>(1 / sqrt(s.correction2)),
      .eps = static_cast<float>(args.eps),
      .ema = static_cast<float>(s.ema_decay),
      .ema_new = static_cast<float>(1 - s.ema_decay),
  };
}

template <int width>
struct State {
  Numbers<width> gradient, parameter, m, v, ema;
};

template <int width>
__global__ void __launch_bounds__(kElementThreads) adamw_step(AdamwArgs args, Schedule scalars) {
  follow_previous_kernel();
  auto& shared = shared_memory<Coefficients>();
  if (threadIdx.x == 0) {
    if (const double* s = args.schedule) scalars = {s[0], s[1], s[2], s[3]};
    shared = coefficients(args, scalars);
  }
  __syncthreads();
  const Coefficients k = shared;
  for_each_vector<width>(
      args.n,
      [&](auto w, int64_t i) {
        State<w> s;
        s.gradient = load_numbers<w>(args.gradient + i);
        s.parameter = load_numbers<w>(args.parameter + i);
        s.m = load_numbers<w>(args.m + i);
        s.v = load_numbers<w>(args.v + i);
        if (args.ema) s.ema = load_numbers<w>(args.ema + i);
        return s;
      },
      [&](auto w, int64_t i, auto s) {
#pragma unroll
        for (int j = 0; j < w; ++j) {
          const float g = s.gradient[j] * k.gradient_scale;
          s.m[j] = fmaf(k.b1, s.m[j], k.c1 * g);
          s.v[j] = fmaf(k.b2, s.v[j], k.c2 * (g * g));
          // sqrt(v / (1 - b2^t)) = sqrt(v) * root_scale.
          const float change = k.rate * s.m[j] / fmaf(sqrtf(s.v[j]), k.root_scale, k.eps);
          s.parameter[j] = fmaf(s.parameter[j], k.keep, -change);
          s.ema[j] = fmaf(k.ema, s.ema[j], k.ema_new * s.parameter[j]);
        }
        store_numbers(args.parameter + i, s.parameter);
        store_numbers(args.m + i, s.m);
        store_numbers(args.v + i, s.v);
        if (args.ema) store_numbers(args.ema + i, s.ema);
      });
}

}  // namespace

void adamw(const AdamwArgs& args, Stream stream) {
  if (args.n == 0) return;
  const double t = static_cast<double>(args.step);
  const Schedule scalars = {args.lr, 1 - std::pow(args.beta1, t), 1 - std::pow(args.beta2, t),
                            args.ema_decay};
  constexpr int kWidth = kVector<float>;
  const dim3 threads(kElementThreads);
  if (aligned16(args.gradient) && aligned16(args.parameter) && aligned16(args.m) &&
      aligned16(args.v) && aligned16(args.ema)) {
    launch<adamw_step<kWidth>>(element_grid(args.n, kWidth), threads, sizeof(Coefficients), stream,
                               args, scalars);
  } else {
    launch<adamw_step<1>>(element_grid(args.n, 1), threads, sizeof(Coefficients), stream, args,
                          scalars);
  }
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
