// The convolution leaves for AVX2 and FMA: see conv2d_leaves.h.
#include <algorithm>
#include <array>

#include "kernels/cpu/conv2d_leaves.h"

#if defined(__x86_64__)
#pragma GCC target("arch=x86-64-v3")

namespace diffscm::kernels::cpu::v3 {
namespace {

inline constexpr int kLanes = 8, kRegisters = 16;
#include "kernels/cpu/conv2d_leaf_vector.h"

#include "kernels/cpu/conv2d_leaf_product.h"
#include "kernels/cpu/conv2d_leaf_winograd.h"

}  // namespace

const Leaves kLeaves = {
    product,          dots,           input_transform, output_transform, gradient_transform,
    filter_transform, filter_gradient};

}  // namespace diffscm::kernels::cpu::v3
#endif
