// Safeguarded Anderson acceleration, one iteration for a batch of images whose coefficients,
// acceptance and stopping are their own: what exact abduction does between two evaluations of the
// network. diffusion/fixed_point.cpp says what it solves and why it is guarded so.
#pragma once

#include <cstdint>

namespace diffscm::kernels {

inline constexpr int kAndersonMemoryMost = 16;

// What is known of an image, all in its unit and its root mean square over the elements. Zeros: of
// an image that has not been judged yet.
struct AndersonState {
  double residual;  // of the best iterate; infinite: there is none
  double damping;   // beta
  double reach;     // longest step allowed
  double length;    // of the step under way
  double refusals;  // in a row
  double evaluations;
  double milestone_evaluations, milestone_residual;  // when the residual last fell by a tenth
  double finished;                                   // 0 or 1
};
// Behind it lie <dF_i, dF_j> [memory, memory] and <dF_j, F> [memory]. In doubles:
constexpr int64_t anderson_state_size(int64_t memory) {
  return static_cast<int64_t>(sizeof(AndersonState) / sizeof(double)) + memory * (memory + 1);
}

// Images [N] of `elements` numbers, of which those at `rows` are under way. For each of them that
// is not finished, with F = y - below the residual of its trial:
//   judge    the trial becomes the best iterate (x, f, eps) if it is the first, or |F| is less than
//            any before: then the damping (at most 1) and the reach (at most `longest`) double.
//            Otherwise, and when F is not finite, both are halved. The first trial, not being
//            finite, finishes the image.
//   learn    secant dX, dF = step, F - F_best of before; zeros when F is not finite
//   finish   once |F| <= tolerance, after `evaluations_most` judgements, or 40 without a fall of
//            |F| by a tenth: its trial is then its best iterate
//   propose  gamma = argmin |F_best - sum_j gamma_j dF_j| (regularised, in double; 0 after 6
//            refusals in a row), b = damping * plain,
//            step = b F_best - sum_j gamma_j (dX_j + b dF_j), shortened to `reach`,
//            trial = x + step
// Inner products are summed in double in a fixed order: an image's bits do not depend on the others
// under way. Rows are distinct; a row outside 0 .. N-1 is an error on cpu and ignored elsewhere.
// below and eps_trial are [n, elements] in the order of rows, as trial is. Source: Walker & Ni
// 2011, "Anderson acceleration for fixed-point iterations", type II.
struct AndersonArgs {
  int64_t n, images, elements;
  int memory;  // secants that are remembered, 0 .. 16
  double plain, longest, tolerance;
  int64_t evaluations_most;
  const int64_t* rows;     // [n]
  const float* y;          // [N, elements]
  const float* below;      // [n, elements] where the step leads from the trial
  const float* eps_trial;  // [n, elements] the direction that it takes
  float* trial;            // [n, elements]
  float* x;                // [N, elements]
  float* f;                // [N, elements]
  float* eps;              // [N, elements]
  float* dx;               // [memory, N, elements]
  float* df;               // [memory, N, elements]
  double* state;           // [N, anderson_state_size(memory)]
};
void check(const AndersonArgs&);

}  // namespace diffscm::kernels
