// The filters of an enlarged image's four phases, made of one of 3x3.
#include "kernels/cuda/conv2d_enlarged.h"

#include "kernels/cuda/device/elements.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

// A thread for each weight of a phase.
__global__ void __launch_bounds__(kElementThreads)
    sum_phase_weights_kernel(const bf16* weight, int c, int64_t elements, bf16* phases) {
  follow_previous_kernel();
  const int64_t threads = int64_t{gridDim.x} * kElementThreads;
  for (int64_t i = int64_t{blockIdx.x} * kElementThreads + threadIdx.x; i < elements;
       i += threads) {
    const int64_t tap = i / c, k = tap / 16;
    const int channel = static_cast<int>(i % c), bits = static_cast<int>(tap % 16);
    const int odd_y = bits >> 3 & 1, odd_x = bits >> 2 & 1, y = bits >> 1 & 1, x = bits & 1;
    // The second tap of an even row, and the first of an odd one, are two of the filter's.
    const int row = y * (1 + odd_y), rows = 1 + (y ^ odd_y);
    const int column = x * (1 + odd_x), columns = 1 + (x ^ odd_x);
    float sum = 0;
    for (int r = row; r < row + rows; ++r)
      for (int s = column; s < column + columns; ++s)
        sum += to_float(weight[((k * 3 + r) * 3 + s) * c + channel]);
    phases[i] = from_float<bf16>(sum);
  }
}

}  // namespace

void sum_phase_weights(const ConvShape& shape, const bf16* weight, bf16* phases, Stream stream) {
  const int64_t elements = phase_weights(shape);
  launch<sum_phase_weights_kernel>(element_grid(elements, 1), kElementThreads, 0, stream, weight,
                                   static_cast<int>(shape.c()), elements, phases);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
