// The convolution leaves for baseline: SSE2: see conv2d_leaves.h.
#include <algorithm>
#include <array>

#include "kernels/cpu/conv2d_leaves.h"

namespace diffscm::kernels::cpu::v1 {
namespace {

inline constexpr int kLanes = 4, kRegisters = 16;
#include "kernels/cpu/conv2d_leaf_vector.h"

#include "kernels/cpu/conv2d_leaf_product.h"
#include "kernels/cpu/conv2d_leaf_winograd.h"

}  // namespace

const Leaves kLeaves = {
    product,          dots,           input_transform, output_transform, gradient_transform,
    filter_transform, filter_gradient};

}  // namespace diffscm::kernels::cpu::v1
