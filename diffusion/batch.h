// Arithmetic on batches of images that the causal procedures share: everything per image, so that
// no result depends on what else is in the batch.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "diffusion/epsilon.h"
#include "diffusion/noise_schedule.h"
#include "engine/tensor.h"

namespace diffscm {

// Throws Error unless x is a non-empty f32 batch [N, ..] of non-empty images; `what` names it.
void require_batch(const Tensor& x, const char* what);

// The network's answer, with its shape checked.
Tensor predict_noise(const EpsilonModel& epsilon, const Tensor& x, int timestep);
Tensor guidance_at(const GuidanceGradient& gradient, const Tensor& x, int timestep);
// The same for recordable functions, with t [N] in the target's memory.
Tensor predict_noise(const EpsilonModel& epsilon, const Tensor& x, const Tensor& t);
Tensor guidance_at(const GuidanceGradient& gradient, const Tensor& x, const Tensor& t);

// a x + b z, one pair of coefficients for the batch or one per image.
Tensor combine(double a, const Tensor& x, double b, const Tensor& z);
Tensor combine(std::span<const float> a, const Tensor& x, std::span<const float> b,
               const Tensor& z);

// result[k][n] = <x_k[n], z_k[n]>, one read-back for all pairs.
using TensorPair = std::pair<Tensor, Tensor>;
std::vector<std::vector<double>> sample_dots(std::span<const TensorPair> pairs);

// Images `rows` of x, in that order; and the reverse: into[rows[i]] = x[i].
Tensor gather(const Tensor& x, std::span<const int64_t> rows);
void scatter(const Tensor& x, std::span<const int64_t> rows, Tensor& into);

// Batches after each other, on the cpu.
Tensor concatenate(const std::vector<Tensor>& batches);
// x with every value moved into [-1, 1].
Tensor clamp_to_image(const Tensor& x);
constexpr double kGreyLevels = 127.5;  // per unit of [-1, 1]

// Mean |a - b| per image in grey levels.
std::vector<double> l1_grey_levels(const Tensor& a, const Tensor& b);

// Moves x from one level of the chain to another along the direction eps, deterministically and
// without clipping (DDIM, Song et al. 2021, eq. 12 with sigma = 0), in either direction and from
// level 0 too:
//   sqrt(b / a) x + (sqrt(1 - b) - sqrt(b (1 - a) / a)) eps,  a, b = alpha_bar of `from` and `to`.
Tensor transfer(const Chain& chain, int from, int to, const Tensor& x, const Tensor& eps);

}  // namespace diffscm
