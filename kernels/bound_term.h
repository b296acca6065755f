// The scalar part of the variational bound (variational_bound.h), one definition for every target:
// what one number of an image adds to its sample's term, in nats.
#pragma once

#include <cmath>
#include <numbers>

#include "kernels/everywhere.h"
#include "kernels/variational_bound.h"

namespace diffscm::kernels {

struct BoundTerm {
  double value, slope;  // and its derivative with respect to v
};

// Sample n's, of VariationalBoundArgs::step.
DIFFSCM_EVERYWHERE BoundStep bound_step(const float* steps, int64_t n) {
  const float* step = steps + 4 * n;
  return {step[0], step[1], step[2], step[3]};
}

// P(z > at) of a standard normal z: erfc is exact far out, where 1 - Phi would have no digits left.
DIFFSCM_EVERYWHERE double upper_tail(double at) {
  return 0.5 * erfc(at * (1 / std::numbers::sqrt2));
}

// at times the standard normal density there.
DIFFSCM_EVERYWHERE double moment(double at) {
  constexpr double kDensityAtZero = std::numbers::inv_sqrtpi / std::numbers::sqrt2;
  return at * (kDensityAtZero * exp(-0.5 * at * at));
}

// t > 0: the divergence of two Gaussians.
DIFFSCM_EVERYWHERE BoundTerm divergence_term(const BoundStep& step, double v, double eps,
                                             double noise) {
  const double gap = step.gap, wider = 0.5 * (v + 1) * gap;
  const double error = step.slope * (eps - noise);
  const double second_moment = exp(-wider) * (1 + error * error * exp(-double{step.log_least}));
  return {0.5 * (wider - 1 + second_moment), 0.25 * gap * (1 - second_moment)};
}

// t = 0: the level that x_0 is on.
DIFFSCM_EVERYWHERE BoundTerm level_term(const BoundStep& step, double v, double eps, double noise,
                                        double x_t) {
  constexpr double kHalfLevel = 1.0 / 255, kOutermost = 0.999, kLeast = 1e-12;
  constexpr double kFar = 1e3;  // deviations: no end, as far as a double can tell
  const double gap = step.gap, slope = step.slope;
  const double narrow = exp(-0.5 * (step.log_least + 0.5 * (v + 1) * gap));
  // Looked at from the side where the level lies above the mean: both ends are then in, or near,
  // the upper tail.
  const double side = eps < noise ? -1 : 1;
  const double centre = side * slope * (eps - noise);
  const double x_0 = side * (sqrt(1 + slope * slope) * x_t - slope * noise);
  const double low = x_0 < -kOutermost ? -kFar : (centre - kHalfLevel) * narrow;
  const double high = x_0 > kOutermost ? kFar : (centre + kHalfLevel) * narrow;
  const double probability = upper_tail(low) - upper_tail(high);
  if (!(probability > kLeast)) return {-log(kLeast), 0};
  return {-log(probability), 0.25 * gap * (moment(high) - moment(low)) / probability};
}

DIFFSCM_EVERYWHERE BoundTerm bound_term(const BoundStep& step, double v, double eps, double noise,
                                        double x_t) {
  return step.last > 0 ? level_term(step, v, eps, noise, x_t)
                       : divergence_term(step, v, eps, noise);
}

}  // namespace diffscm::kernels
