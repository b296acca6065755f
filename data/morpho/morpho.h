// morpho: MNIST's digits re-rendered with a thickness and an intensity that a structural causal
// model gives them, after Pawlowski, Castro and Glocker 2020 ("Deep structural causal models for
// tractable counterfactual inference", section 4.1). 28 x 28 grey.
//
//        thickness ---> intensity      digit
//                \         |           /
//                 `------> image <----'
//
//   thickness = 0.5 + u_thickness                      u_thickness ~ Gamma(10, rate 5)
//   intensity = 64 + 191 sigmoid(u_intensity / 2 + 2 thickness - 5)   u_intensity ~ N(0, 1)
//   image     = render(the MNIST image, thickness, intensity)
// thickness, in pixels, is what the rendering is told, as in the published files: what is measured
// afterwards is a little more (edit.h). intensity is the median grey level of the stroke. The MNIST
// image is the rest of the noise: a counterfactual renders the same handwriting anew. Nobody knows
// how its writer would have written another digit: do(digit) has no true image.
#pragma once

#include "data/dataset.h"
#include "data/morpho/edit.h"

namespace diffscm::data::morpho {

constexpr double kMinThickness = 0.5, kMaxThickness = 8.0;
constexpr double kMinIntensity = 64, kMaxIntensity = 255;

// The equations.
double thickness_of(double u_thickness);
double intensity_of(double thickness, double u_intensity);

// What the equations make of one image's own noise.
struct Parents {
  double thickness = 0, intensity = 0, u_intensity = 0;
};
// A pure function of its arguments. The images of a split are world_index(split, 0), 1, ...
Parents sample_parents(uint64_t seed, uint64_t index);

// The handwriting with that thickness and intensity. A digit without a stroke (all pixels equal)
// stays as it is.
GreyImage render(const GreyImage& handwriting, double thickness, double intensity);

// Attributes digit, thickness and intensity; the data set carries its world. Rendered once, then
// kept in the cache (data/cache.h) in the layout of the published files. MNIST must be found, as
// for load_mnist.
Dataset load_morpho(Split split, uint64_t seed);

// A data set read from files whose attributes are digit, thickness and intensity: where MNIST is on
// this machine, has as many images of the same digits, and becomes these images when it is
// re-rendered (a sample of them, mean distance 0.5 grey levels at most), the set gets its world,
// and a note says so. Its noise follows from the attributes. The published files differ by 0.012
// grey levels.
void recognise(Dataset& set, Split split);

}  // namespace diffscm::data::morpho
