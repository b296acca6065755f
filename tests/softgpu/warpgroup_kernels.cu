// Kernels for the tests of the device in software, compiled for sm_90a.
#include "tests/emulator/bulk_stream.h"
#include "tests/emulator/plain_product.h"
#include "tests/emulator/register_product.h"
#include "tests/softgpu/kernels.h"

namespace diffscm::softgpu::test {
namespace {

template <int columns>
void multiply(float* sums, cudaStream_t stream) {
  using namespace kernels::cuda;
  launch<kernels::cuda::test::multiply_plain<columns>>(
      1, kWarpgroup, sizeof(kernels::cuda::test::PlainOperands<columns>), {stream}, sums);
}

}  // namespace

void multiply_plain(int columns, float* sums, cudaStream_t stream) {
  switch (columns) {
    case 8:
      return multiply<8>(sums, stream);
    case 32:
      return multiply<32>(sums, stream);
    case 64:
      return multiply<64>(sums, stream);
    case 128:
      return multiply<128>(sums, stream);
    case 192:
      return multiply<192>(sums, stream);
  }
  fail("multiply_plain: {} columns, choose 8, 32, 64, 128 or 192", columns);
}

void multiply_of_registers(int columns, float* sums, cudaStream_t stream) {
  using namespace kernels::cuda;
  using namespace kernels::cuda::test;
  if (columns == 128)
    launch<kernels::cuda::test::multiply_of_registers<128>>(1, kWarpgroup, sizeof(RowsOfB<128>),
                                                            {stream}, sums);
  else
    launch<kernels::cuda::test::multiply_of_registers<192>>(1, kWarpgroup, sizeof(RowsOfB<192>),
                                                            {stream}, sums);
}

void stream_reversed(bool phases, const float* x, float* y, int slots, cudaStream_t stream) {
  using namespace kernels::cuda;
  using namespace kernels::cuda::test;
  if (phases)
    launch<kernels::cuda::test::stream_reversed<true>>(1, BulkSlots::kThreads, sizeof(BulkSlots),
                                                       {stream}, x, y, slots);
  else
    launch<kernels::cuda::test::stream_reversed<false>>(1, BulkSlots::kThreads, sizeof(BulkSlots),
                                                        {stream}, x, y, slots);
}

}  // namespace diffscm::softgpu::test
