// Abduction: the exogenous noise u of an image, that from which prediction returns the image; and
// prediction from it. For the deterministic sampler (DDIM, eta = 0) u is a point at level L of the
// chain, for the ancestral one (DDPM) that point and the noise of every step.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "diffusion/guidance.h"
#include "diffusion/noise_schedule.h"
#include "diffusion/progress.h"
#include "diffusion/step.h"

namespace diffscm {

enum class AbductionMethod { ddim, fixed_point, ddpm };
const char* name_of(AbductionMethod method);
// Throws Error naming the choices.
AbductionMethod parse_abduction_method(std::string_view name);

struct AbductionOptions {
  AbductionMethod method = AbductionMethod::fixed_point;
  int levels = 0;            // L, how far up the chain; 0 = all of it
  double tolerance = 0.1;    // fixed_point: RMS over the image, in grey levels (127.5 per unit)
  int max_iterations = 100;  // fixed_point: network evaluations per image and level
  int memory = 5;            // fixed_point: Anderson memory, 0 .. 16; 0 = damped plain iteration
  ThresholdOptions threshold{};  // ddim only; any threshold forgets what it cuts off
  uint64_t seed = 0;             // ddpm: of the path; image n's is a function of (seed, index[n])
  std::vector<int64_t> index{};  // ddpm; empty: 0 .. N-1
};
// Throws Error naming the value that cannot be used.
void validate(const AbductionOptions& options);

// Per-image vectors have one entry per image of the batch.
struct Abduction {
  Tensor latent;  // u, shaped like the images, at level L
  // ddpm, else empty: [L], of the step from level 1 + i, in units of its sigma; of the last step,
  // whose sigma is 0, what it misses the image by.
  std::vector<Tensor> noise;
  std::vector<float> residual;  // fixed_point: worst residual over the levels, grey levels
  std::vector<uint8_t>
      converged;                 // fixed_point: within tolerance (or f32 round-off) at every level
  std::vector<int> evaluations;  // network evaluations spent on this image
  std::vector<int> level_evaluations;  // [L] on levels 1 .. L, summed over the images
};

// Walks the images x [N, ..] from level 0 up to level L. `epsilon` may be conditional (bound to the
// factual parents) and guided: what is inverted is the step that sample() takes with both.
//
// ddim: the step read backwards with eps taken at the level that is left (Song et al. 2021, eq. 12;
//   Dhariwal & Nichol 2021): x_l = step(x_{l-1}, eps(x_{l-1}, timestep(l - 1))), and at the clean
//   image, which has no timestep, eps(x_0, timestep(1)). One evaluation per level; the error of the
//   round trip is of first order in 1 / S.
//
// fixed_point: at each level solves for the x_l from which the sampler's own step, unclipped,
//   returns x_{l-1} (Pan et al. 2023, "Effective real image editing with accelerated iterative
//   diffusion inversion"), by safeguarded Anderson acceleration per image. For an exact score the
//   step is the gradient of a strictly convex function, so that one and only one solution exists
//   however large the step is, even where plain iteration diverges; a trained network is close to
//   that. Images leave the batch as they converge; one that does not within max_iterations goes on
//   from its best iterate and is reported. The outcome for an image does not depend on the others
//   in the batch, as far as `epsilon` does not.
//
// ddpm: noises the image to every level anew, x_l = sqrt(a_l) x + sqrt(1 - a_l) e_l, and takes for
//   the noise of each ancestral step what leads from the one to the next, z_l = (x_{l-1} -
//   mean(x_l)) / sigma_l (Huberman-Spiegelglas et al. 2024, "An edit friendly DDPM noise space").
//   One evaluation per level, and an exact round trip. u is one of many that lead to the image, not
//   a draw from their posterior: the e_l are independent, so that the z_l are larger than standard
//   normal ones and hold more of the image, which is why it keeps its style under intervention.
//
// `observer` sees the images that each level goes on from, 1 .. L. Throws Error for options, levels
// or shapes that make no sense; passes on what `progress` and `observer` throw.
Abduction abduct(const EpsilonModel& epsilon, const Guidance& guidance, const Chain& chain,
                 const Tensor& x, const AbductionOptions& options, const Progress& progress = {},
                 const Observer& observer = {});

// Prediction: down from u over the `levels` that it was abducted over, by DDIM, or by DDPM with u's
// noise. With the networks of the abduction, and no threshold, the image comes back.
Tensor predict(const Abduction& u, const EpsilonModel& epsilon, const Guidance& guidance,
               const Chain& chain, int levels, const ThresholdOptions& threshold = {},
               const Progress& progress = {}, const Observer& observer = {});

}  // namespace diffscm
