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

struct Noise {
  double u_thickness = 0, u_intensity = 0;
};
// A pure function of its arguments. The images of a split are world_index(split, 0), 1, ...
Noise sample_noise(uint64_t seed, uint64_t index);

double thickness_of(const Noise& noise);
double intensity_of(const Noise& noise, double thickness);

// The handwriting with that thickness and intensity. A digit without a stroke (all pixels equal)
// stays as it is.
GreyImage render(const GreyImage& handwriting, double thickness, double intensity);

// Attributes digit, thickness and intensity; the data set carries its world. Rendered once, then
// kept in the cache (data/cache.h) in the layout of the published files. MNIST must be found, as
// for load_mnist.
Dataset load_morpho(Split split, uint64_t seed);

}  // namespace diffscm::data::morpho
