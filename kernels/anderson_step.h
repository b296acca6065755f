// The scalar part of Anderson acceleration (anderson.h), one definition for every target: what an
// image's numbers say about its trial and its next step.
#pragma once

#include <cmath>
#include <limits>

#include "kernels/anderson.h"
#include "kernels/everywhere.h"

namespace diffscm::kernels {

inline constexpr double kAndersonRegularisation = 1e-6;  // of a Gram matrix with unit diagonal, f32
inline constexpr double kAndersonPatience = 40;          // evaluations granted for ...
inline constexpr double kAndersonWorthwhile = 0.9;       // ... the residual to fall by this factor
inline constexpr double kAndersonTrust = 6;  // refusals in a row that leave the secants believed

DIFFSCM_EVERYWHERE bool is_finite(double x) {
  return x - x == 0;
}
DIFFSCM_EVERYWHERE double lesser(double a, double b) {
  return a < b ? a : b;
}

// Takes notice of the trial's residual; returns whether it is the best so far. `state` is that of
// an image that is not finished.
DIFFSCM_EVERYWHERE bool judge_trial(AndersonState& state, const AndersonArgs& args,
                                    double residual) {
  const bool first = state.evaluations == 0, finite = is_finite(residual);
  bool best = finite;
  state.evaluations += 1;
  if (first) {
    state.residual = finite ? residual : std::numeric_limits<double>::infinity();
    state.milestone_residual = state.residual;
    state.milestone_evaluations = 1;
    state.damping = 1;
    state.reach = args.longest;
    state.refusals = 0;
  } else {
    best = finite && residual < state.residual;
    if (best) {
      state.residual = residual;
      state.damping = lesser(1, 2 * state.damping);
      state.reach =
          lesser(args.longest, state.reach > 2 * state.length ? state.reach : 2 * state.length);
      state.refusals = 0;
    } else {
      state.damping /= 2;
      state.reach = state.length / 2;
      state.refusals += 1;
    }
    if (state.residual < kAndersonWorthwhile * state.milestone_residual) {
      state.milestone_residual = state.residual;
      state.milestone_evaluations = state.evaluations;
    }
  }
  const bool finished = (first && !finite) || state.residual <= args.tolerance ||
                        state.evaluations >= static_cast<double>(args.evaluations_most) ||
                        state.evaluations - state.milestone_evaluations >= kAndersonPatience;
  state.finished = finished ? 1 : 0;
  return best;
}

// How many secants an image has, after a judgement, and which is the newest.
DIFFSCM_EVERYWHERE int secants(const AndersonState& state, int memory) {
  const int seen = static_cast<int>(state.evaluations) - 1;
  return seen < memory ? seen : memory;
}
DIFFSCM_EVERYWHERE int newest_secant(const AndersonState& state, int memory) {
  return (static_cast<int>(state.evaluations) - 2) % memory;
}

struct AndersonScratch {
  double lower[kAndersonMemoryMost * kAndersonMemoryMost], scale[kAndersonMemoryMost],
      z[kAndersonMemoryMost];
  int used[kAndersonMemoryMost];
};

// argmin |F - sum gamma_j dF_j|^2 by regularised normal equations on unit columns (Cholesky).
// Columns that are zero or not finite get gamma = 0. gram [memory, memory], explains [memory].
DIFFSCM_EVERYWHERE void least_squares(const double* gram, const double* explains, int columns,
                                      int memory, AndersonScratch& s, double* gamma) {
  int n = 0;
  for (int j = 0; j < columns; ++j) {
    gamma[j] = 0;
    const double square = gram[j * memory + j];
    if (!(square > 0) || !is_finite(square)) continue;
    s.used[n] = j;
    s.scale[n++] = 1 / std::sqrt(square);
  }
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j <= i; ++j) {
      double sum = i == j ? 1 + kAndersonRegularisation
                          : gram[s.used[i] * memory + s.used[j]] * s.scale[i] * s.scale[j];
      for (int k = 0; k < j; ++k) sum -= s.lower[i * n + k] * s.lower[j * n + k];
      // Rounding of the f32 secants may leave a pivot that means nothing.
      if (i == j)
        s.lower[i * n + j] =
            std::sqrt(sum > kAndersonRegularisation ? sum : kAndersonRegularisation);
      else
        s.lower[i * n + j] = sum / s.lower[j * n + j];
    }
    double z = explains[s.used[i]] * s.scale[i];
    for (int k = 0; k < i; ++k) z -= s.lower[i * n + k] * s.z[k];
    s.z[i] = z / s.lower[i * n + i];
  }
  for (int i = n; i-- > 0;) {
    double z = s.z[i];
    for (int k = i + 1; k < n; ++k) z -= s.lower[k * n + i] * s.z[k];
    s.z[i] = z / s.lower[i * n + i];
    if (is_finite(s.z[i])) gamma[s.used[i]] = s.z[i] * s.scale[i];
  }
}

// What the next step is made of: mixing * F - sum_j (along[j] dX_j + residual[j] dF_j).
struct AndersonCoefficients {
  float mixing, along[kAndersonMemoryMost], residual[kAndersonMemoryMost];
};
DIFFSCM_EVERYWHERE void next_step(const AndersonState& state, const double* products, int memory,
                                  double plain, AndersonScratch& scratch, double* gamma,
                                  AndersonCoefficients& c) {
  const int columns = secants(state, memory);
  c.mixing = static_cast<float>(state.damping * plain);
  if (state.refusals < kAndersonTrust)
    least_squares(products, products + memory * memory, columns, memory, scratch, gamma);
  for (int j = 0; j < columns; ++j) {
    const double g = state.refusals < kAndersonTrust ? gamma[j] : 0;
    c.along[j] = static_cast<float>(g);
    c.residual[j] = static_cast<float>(g * static_cast<double>(c.mixing));
  }
}

// What the step is multiplied by to be no longer than allowed. `length`: its RMS.
DIFFSCM_EVERYWHERE float shortened(AndersonState& state, double length) {
  const bool too_long = length > state.reach;
  const float factor = too_long ? static_cast<float>(state.reach / length) : 1.0f;
  state.length = too_long ? state.reach : length;
  return factor;
}

}  // namespace diffscm::kernels
