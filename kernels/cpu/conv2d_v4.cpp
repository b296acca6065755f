// The convolution leaves for AVX-512: see conv2d_leaves.h.
#include <algorithm>
#include <array>

#include "kernels/cpu/conv2d_leaves.h"

#if defined(__x86_64__)
#pragma GCC target("arch=x86-64-v4")

namespace diffscm::kernels::cpu::v4 {
namespace {

inline constexpr int kLanes = 16, kRegisters = 32;
#include "kernels/cpu/conv2d_leaf_vector.h"

#include "kernels/cpu/conv2d_leaf_product.h"
#include "kernels/cpu/conv2d_leaf_winograd.h"

}  // namespace

const Leaves kLeaves = {
    product,          dots,           input_transform, output_transform, gradient_transform,
    filter_transform, filter_gradient};

}  // namespace diffscm::kernels::cpu::v4
#endif
