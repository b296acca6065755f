// How much of the image was changed, and whether what should come back does. Composition and
// reversibility are two of the axioms of counterfactuals (Monteiro et al. 2023; Melistas et al.
// 2024, "Benchmarking counterfactual image generation").
#pragma once

#include <functional>
#include <vector>

#include "evaluation/metrics/images.h"

namespace diffscm {

// Mean |a - b| over the pixels of each image, in grey levels: [0, 255], lower is better. As
// l1_grey_levels (diffusion/batch.h), but throws Error for images that are not finite or do not
// fit.
std::vector<double> l1_distance(const Tensor& a, const Tensor& b);
// Share of pixels with |a - b| > threshold grey levels: [0, 1], lower is better.
std::vector<double> l0_distance(const Tensor& a, const Tensor& b, double threshold = 8);

// A batch of images -> the same images after an intervention that changes nothing.
using NullIntervention = std::function<Tensor(const Tensor& images)>;
// A batch of images -> their counterfactuals under do(class = targets).
using ClassIntervention =
    std::function<Tensor(const Tensor& images, std::span<const int64_t> targets)>;

// Composition: L1 to the factual after so many null interventions in a row; `cycles` ascending.
// [cycles][images], grey levels, 0 is best, NaN for an image that came back as no finite one.
std::vector<std::vector<double>> composition(const NullIntervention& null, const Tensor& factual,
                                             std::span<const int> cycles);

// Reversibility: L1 of a counterfactual to its factual after do(class = factual class). Grey
// levels, 0 is best, NaN as above; an image that never changed has 0 too, so read it beside
// effectiveness.
std::vector<double> reversibility(const ClassIntervention& intervene, const Tensor& factual,
                                  const Tensor& counterfactual,
                                  std::span<const int64_t> factual_class);

}  // namespace diffscm
