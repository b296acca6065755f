// wgmma as the project writes it (kernels/cuda/device/wgmma.h), through nvcc.
#include "tests/emulator/product_elements.h"
#include "tests/softgpu/support.h"

namespace diffscm::softgpu::test {
namespace {

// Sums of 64 x columns over k < 32, and 1.
class Warpgroup : public SoftGpu {
 protected:
  void expect_product(void (*multiply)(int, float*, cudaStream_t), int columns) {
    SCOPED_TRACE(columns);
    float* const sums = allocate(static_cast<size_t>(64 * columns));
    multiply(columns, sums, stream);
    const std::vector<float> found = host(sums, static_cast<size_t>(64 * columns));
    for (int m = 0; m < 64; ++m)
      for (int n = 0; n < columns; ++n)
        ASSERT_EQ(found[static_cast<size_t>(m * columns + n)], 1 + kernels::test::product(m, n, 32))
            << m << " " << n;
  }
};

TEST_F(Warpgroup, PlainOperands) {
  for (const int columns : {8, 32, 64, 128, 192}) expect_product(multiply_plain, columns);
}

TEST_F(Warpgroup, AInRegisters) {
  for (const int columns : {128, 192}) expect_product(multiply_of_registers, columns);
}

}  // namespace
}  // namespace diffscm::softgpu::test
