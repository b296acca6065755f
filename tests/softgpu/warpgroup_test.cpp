// wgmma as the project writes it (kernels/cuda/device/wgmma.h), through nvcc.
#include "tests/emulator/product_elements.h"
#include "tests/softgpu/support.h"

namespace diffscm::softgpu::test {
namespace {

using Warpgroup = SoftGpu;

TEST_F(Warpgroup, PlainOperands) {
  for (const int columns : {8, 32, 64, 128, 192}) {
    SCOPED_TRACE(columns);
    float* const sums = allocate(static_cast<size_t>(64 * columns));
    multiply_plain(columns, sums, stream);
    const std::vector<float> found = host(sums, static_cast<size_t>(64 * columns));
    for (int m = 0; m < 64; ++m)
      for (int n = 0; n < columns; ++n)
        ASSERT_EQ(found[static_cast<size_t>(m * columns + n)], 1 + kernels::test::product(m, n, 32))
            << m << " " << n;
  }
}

}  // namespace
}  // namespace diffscm::softgpu::test
