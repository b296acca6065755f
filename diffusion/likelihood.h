// The likelihood of images under a diffusion model, by the instantaneous change of variables along
// the probability-flow ODE (Song et al. 2021, "Score-based generative modeling through stochastic
// differential equations", section 4.3; Chen et al. 2018).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "diffusion/noise_schedule.h"
#include "diffusion/progress.h"
#include "engine/tensor.h"

namespace diffscm {

// eps(x_t, t) [N, ..] and the gradient of sum(v eps) with respect to x_t: v's product with each
// image's Jacobian.
struct EpsilonProduct {
  Tensor eps, product;
};
// t [N], original units, in the memory of x_t's target; v shaped like x_t. Images do not influence
// each other.
using DifferentiableEpsilon =
    std::function<EpsilonProduct(const Tensor& x_t, const Tensor& t, const Tensor& v)>;

// The timesteps that the flow is integrated over: 0 .. T - 1 in at most `points` places, evenly in
// log sigma as far as whole timesteps allow. Throws Error unless 2 <= points.
std::vector<int> likelihood_timesteps(const NoiseSchedule& schedule, int points);

// log density, in nats, of the images x [N, ..] in [-1, 1] under the model at the least noise that
// its network knows: of x_0 + sigma z at timestep 0, which the probability flow makes of N(0, I) at
// timestep T - 1. One entry per image.
//
// In y = x_t / sqrt(alpha_bar) the flow is dy/dsigma = eps; log p changes by the integral of the
// divergence of eps, estimated as v^T (d eps / dy) v (Hutchinson 1990) with `probe` v [N, ..], each
// entry -1 or 1, the same along the whole path. Exact for one number per image. y is integrated by
// Heun's method in sigma, along which it is straight where the images are certain; the divergence,
// there 1 / sigma per pixel, by the trapezoidal rule in log sigma. Both are of second order. Every
// image takes the same `timesteps`, so that no value depends on the others in the batch (an
// adaptive step would). Throws Error for shapes that make no sense.
std::vector<double> log_likelihood(const DifferentiableEpsilon& epsilon,
                                   const NoiseSchedule& schedule, std::span<const int> timesteps,
                                   const Tensor& x, const Tensor& probe,
                                   const Progress& progress = {});

// Image n's probe [N, ..], a function of (seed, draw, index[n]) alone.
Tensor rademacher_probe(const Shape& shape, uint64_t seed, int draw,
                        std::span<const int64_t> index);

// Images [N, ..] of 256 levels in [-1, 1], each level spread evenly over its share of [-1, 1]:
// 2 (k + u) / 256 - 1, u ~ U(0, 1), a function of (seed, draw, index[n]) alone. Then the mean of
// -log p bounds the bits of the levels themselves from above (Theis et al. 2016). Values between
// levels are rounded to the nearest.
Tensor dequantise(const Tensor& images, uint64_t seed, int draw, std::span<const int64_t> index);

// -log2 p of the 256 levels per number, of an image of so many numbers in [-1, 1]: the density per
// level is that per unit times 2 / 256.
double bits_per_dimension(double log_p, int64_t numbers);

}  // namespace diffscm
