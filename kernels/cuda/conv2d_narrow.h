// The first and the last convolution of a network of images: one side has 1 to 4 channels.
#pragma once

#include "kernels/cuda/conv2d_gather.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

// Whether one side is that narrow, the filter 3x3 and moved by one pixel, and what a block needs
// small enough for shared memory.
template <class T, class Y>
bool conv2d_narrow_supports(const ConvGather<T, Y>& g);
template <class T, class Y>
void conv2d_narrow(const ConvGather<T, Y>& g, Stream stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
