// Arithmetic on batches of images that the causal procedures share: everything per image, so that
// no result depends on what else is in the batch.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "engine/tensor.h"

namespace diffscm {

// Throws Error unless x is a non-empty f32 batch [N, ..] of non-empty images; `what` names it.
void require_batch(const Tensor& x, const char* what);

// a x + b z, one pair of coefficients for the batch or one per image.
Tensor combine(double a, const Tensor& x, double b, const Tensor& z);
Tensor combine(std::span<const float> a, const Tensor& x, std::span<const float> b,
               const Tensor& z);

// result[k][n] = <x_k[n], z_k[n]>, one read-back for all pairs.
using TensorPair = std::pair<Tensor, Tensor>;
std::vector<std::vector<double>> sample_dots(std::span<const TensorPair> pairs);

// Images `rows` of x, in that order (rows [n] i64 where x is, or on the host).
Tensor gather(const Tensor& x, const Tensor& rows);
Tensor gather(const Tensor& x, std::span<const int64_t> rows);

// Batches after each other, in `target`'s memory.
Tensor concatenate(std::span<const Tensor> batches, Target target = Target::cpu);
// x with every value moved into [-1, 1].
Tensor clamp_to_image(const Tensor& x);
constexpr double kGreyLevels = 127.5;  // per unit of [-1, 1]

// Firm shrinkage (Gao & Bruce 1997) of the change from `was` to `is` [.., C], by pixel: with d the
// most that one of its channels moves, in grey levels, min(max(d / least - 1, 0), 1) of the change
// is left. least >= 0.
Tensor shrink_change(const Tensor& was, const Tensor& is, double least);

// Mean |a - b| per image in grey levels.
std::vector<double> l1_grey_levels(const Tensor& a, const Tensor& b);
// The same of one image.
double l1_grey_levels(std::span<const float> a, std::span<const float> b);

}  // namespace diffscm
