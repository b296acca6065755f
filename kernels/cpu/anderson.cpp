// One iteration of Anderson acceleration, one image per task.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/anderson_step.h"
#include "kernels/cpu/clones.h"
#include "kernels/cpu/dot.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/table.h"

namespace diffscm::kernels::cpu {
namespace {

DIFFSCM_INLINE void subtract_leaf(int64_t n, const float* x, const float* z, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] - z[i];
}
constexpr Clones<subtract_leaf> subtract;

// y += a x + b z
DIFFSCM_INLINE void accumulate_leaf(int64_t n, float a, const float* x, float b, const float* z,
                                    float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] += a * x[i] + b * z[i];
}
constexpr Clones<accumulate_leaf> accumulate;

// step *= factor, trial = x + step
DIFFSCM_INLINE void advance_leaf(int64_t n, float factor, const float* x, float* step,
                                 float* trial) {
  for (int64_t i = 0; i < n; ++i) {
    step[i] *= factor;
    trial[i] = x[i] + step[i];
  }
}
constexpr Clones<advance_leaf> advance;

void iterate(const AndersonArgs& args, int64_t i) {
  const int64_t row = args.rows[i], elements = args.elements, at = row * elements;
  double* memory = args.state + row * anderson_state_size(args.memory);
  auto& state = *reinterpret_cast<AndersonState*>(memory);
  double* products = memory + sizeof(AndersonState) / sizeof(double);
  if (state.finished != 0) return;

  float* trial = args.trial + i * elements;
  float *x = args.x + at, *f = args.f + at, *eps = args.eps + at;
  const auto dx = [&](int j) { return args.dx + j * args.images * elements + at; };
  const auto df = [&](int j) { return args.df + j * args.images * elements + at; };
  const auto rms = [&](double square) { return std::sqrt(square / static_cast<double>(elements)); };
  thread_local Scratch<float> scratch;
  float* now = scratch.get(elements);

  subtract(elements, args.y + at, args.below + i * elements, now);
  const double square = dot(elements, now, now);
  const bool best = judge_trial(state, args, rms(square));
  const int columns = secants(state, args.memory);
  const int newest = columns > 0 ? newest_secant(state, args.memory) : 0;
  if (columns > 0 && is_finite(square)) {
    subtract(elements, now, f, df(newest));
  } else if (columns > 0) {
    std::fill_n(df(newest), elements, 0.0f);
    std::fill_n(dx(newest), elements, 0.0f);
  }
  if (best) {
    std::copy_n(trial, elements, x);
    std::copy_n(now, elements, f);
    std::copy_n(args.eps_trial + i * elements, elements, eps);
  }
  if (state.finished != 0) {
    std::copy_n(x, elements, trial);
    return;
  }

  for (int j = 0; j < columns; ++j) {
    products[newest * args.memory + j] = products[j * args.memory + newest] =
        dot(elements, df(newest), df(j));
    products[args.memory * args.memory + j] = dot(elements, df(j), f);
  }
  AndersonScratch space;
  AndersonCoefficients c;
  double gamma[kAndersonMemoryMost];
  next_step(state, products, args.memory, args.plain, space, gamma, c);
  float* step = now;
  for (int64_t e = 0; e < elements; ++e) step[e] = c.mixing * f[e];
  for (int j = 0; j < columns; ++j)
    accumulate(elements, -c.along[j], dx(j), -c.residual[j], df(j), step);
  advance(elements, shortened(state, rms(dot(elements, step, step))), x, step, trial);
  if (args.memory > 0)
    std::copy_n(step, elements, dx((newest_secant(state, args.memory) + 1) % args.memory));
}

}  // namespace

void anderson(const AndersonArgs& args, Stream) {
  for (int64_t i = 0; i < args.n; ++i)
    require(args.rows[i] >= 0 && args.rows[i] < args.images,
            "anderson: row {} (number {}) is outside 0 .. {}", args.rows[i], i, args.images - 1);
  parallel_tasks(args.n, args.n * args.elements * (4 * args.memory + 8),
                 [&](int64_t i) { iterate(args, i); });
}

}  // namespace diffscm::kernels::cpu
