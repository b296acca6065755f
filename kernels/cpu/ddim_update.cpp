// One step along the diffusion chain, and the quantile for dynamic thresholding.
//
// The step has a dozen variants (guidance, thresholds, noise). Rather than one loop for each
// combination, a tile of a few hundred elements passes through short loops, one per ingredient,
// while its eps and x0 sit in the first-level cache: memory sees one read per input and one write
// per output, and each ingredient is written down once.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/clones.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/table.h"

namespace diffscm::kernels::cpu {
namespace {

constexpr int64_t kTile = 512;

// Coefficients of the formulas in the header, rounded to f32 once.
struct Coefficients {
  float root_a, inv_root_a, noise_a, inv_noise_a;  // noise_a = sqrt(1 - a)
  float root_b, direction;                         // of x0 and eps in the result
  float guidance, mean_shift, sigma, condition;
};

Coefficients coefficients(const DdimUpdateArgs& args) {
  const double a = args.levels ? args.levels[0] : args.alpha_bar;
  const double b = args.levels ? args.levels[1] : args.alpha_bar_next;
  const double sigma = args.sigma;
  const double noise_a = std::sqrt(1 - a);
  return {
      .root_a = static_cast<float>(std::sqrt(a)),
      .inv_root_a = static_cast<float>(1 / std::sqrt(a)),
      .noise_a = static_cast<float>(noise_a),
      .inv_noise_a = static_cast<float>(1 / noise_a),
      .root_b = static_cast<float>(std::sqrt(b)),
      .direction = static_cast<float>(std::sqrt(std::max(0.0, 1 - b - sigma * sigma))),
      .guidance =
          static_cast<float>((args.scales ? args.scales[0] : args.guidance_scale) * noise_a),
      .mean_shift = static_cast<float>(args.mean_shift),
      .sigma = static_cast<float>(sigma),
      .condition = static_cast<float>(args.scales ? args.scales[1] : args.condition_scale),
  };
}

// Elements [begin, begin + n) of sample `sample`, n <= kTile.
DIFFSCM_INLINE void update_tile_leaf(const DdimUpdateArgs& args, const Coefficients& c,
                                     int64_t sample, int64_t begin, int64_t n) {
  const Coefficients k = c;
  const int64_t at = sample * args.elements + begin;
  const float* x = args.x + at;
  const float* given = args.eps + at;
  float eps[kTile], x0[kTile];

  if (args.eps_uncond) {
    const float* base = args.eps_uncond + at;
    for (int64_t i = 0; i < n; ++i) eps[i] = base[i] + k.condition * (given[i] - base[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) eps[i] = given[i];
  }
  for (int64_t i = 0; i < n; ++i) x0[i] = (x[i] - k.noise_a * eps[i]) * k.inv_root_a;

  if (args.threshold != Threshold::none) {
    // `limit` is the clip of both kinds; comparisons are written so that a NaN passes through.
    const bool dynamic = args.threshold == Threshold::dynamic;
    const float limit = dynamic ? std::max(1.0f, args.quantile[sample]) : 1.0f;
    const float scale = 1.0f / limit;
    for (int64_t i = 0; i < n; ++i) {
      float v = x0[i] > limit ? limit : x0[i];
      v = v < -limit ? -limit : v;
      x0[i] = v * scale;
      eps[i] = (x[i] - k.root_a * x0[i]) * k.inv_noise_a;
    }
  }
  if (args.gradient) {
    const float* g = args.gradient + at;
    for (int64_t i = 0; i < n; ++i) {
      eps[i] -= k.guidance * g[i];
      x0[i] = (x[i] - k.noise_a * eps[i]) * k.inv_root_a;
    }
  }
  if (args.x0) {
    float* out = args.x0 + at;
    for (int64_t i = 0; i < n; ++i) out[i] = x0[i];
  }

  for (int64_t i = 0; i < n; ++i) x0[i] = k.root_b * x0[i] + k.direction * eps[i];
  if (args.gradient) {
    const float* g = args.gradient + at;
    for (int64_t i = 0; i < n; ++i) x0[i] += k.mean_shift * g[i];
  }
  if (args.noise) {
    const float* noise = args.noise + at;
    for (int64_t i = 0; i < n; ++i) x0[i] += k.sigma * noise[i];
  }
  float* out = args.out + at;
  for (int64_t i = 0; i < n; ++i) out[i] = x0[i];
}
constexpr Clones<update_tile_leaf> update_tile;

DIFFSCM_INLINE void abs_prediction_leaf(int64_t n, float noise_a, float inv_root_a, const float* x,
                                        const float* eps, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = std::abs((x[i] - noise_a * eps[i]) * inv_root_a);
}
constexpr Clones<abs_prediction_leaf> abs_prediction;

// Linear interpolation between order statistics; `values` is reordered. A NaN anywhere is the
// answer, as in torch (and would break the selection, which needs a strict order).
float quantile_of(float* values, int64_t n, double q) {
  if (std::any_of(values, values + n, [](float v) { return std::isnan(v); }))
    return std::numeric_limits<float>::quiet_NaN();
  const double position = q * static_cast<double>(n - 1);
  const auto below = static_cast<int64_t>(position);
  std::nth_element(values, values + below, values + n);
  const double low = values[below];
  const double fraction = position - static_cast<double>(below);
  if (fraction == 0) return values[below];
  const double high = *std::min_element(values + below + 1, values + n);
  return static_cast<float>(low + fraction * (high - low));
}

}  // namespace

void ddim_update(const DdimUpdateArgs& args, Stream) {
  if (args.n * args.elements == 0) return;
  const Coefficients k = coefficients(args);
  const int64_t tiles = (args.elements + kTile - 1) / kTile;
  parallel_tasks(args.n * tiles, args.n * args.elements, [&](int64_t task) {
    const int64_t begin = task % tiles * kTile;
    update_tile(args, k, task / tiles, begin, std::min(kTile, args.elements - begin));
  });
}

void abs_quantile(const AbsQuantileArgs& args, Stream) {
  if (args.n == 0) return;
  const double a = args.levels ? args.levels[0] : args.alpha_bar;
  const auto noise_a = static_cast<float>(std::sqrt(1 - a));
  const auto inv_root_a = static_cast<float>(1 / std::sqrt(a));
  // Selection costs about ten operations per element.
  parallel_tasks(args.n, args.n * args.elements * 10, [&](int64_t n) {
    thread_local Scratch<float> scratch;
    float* values = scratch.get(args.elements);
    const int64_t at = n * args.elements;
    abs_prediction(args.elements, noise_a, inv_root_a, args.x + at, args.eps + at, values);
    args.quantile[n] = quantile_of(values, args.elements, args.q);
  });
}

}  // namespace diffscm::kernels::cpu
