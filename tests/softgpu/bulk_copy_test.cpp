// Bulk copies as the project writes them (kernels/cuda/device/bulk_copy.h), through nvcc.
#include "tests/emulator/stream_elements.h"
#include "tests/softgpu/support.h"

namespace diffscm::softgpu::test {
namespace {

using kernels::test::kSlotNumbers, kernels::test::streamed;

class BulkCopy : public SoftGpu {
 protected:
  static std::vector<float> quarters(int count) {
    std::vector<float> x(static_cast<size_t>(count));
    for (int i = 0; i < count; ++i) x[static_cast<size_t>(i)] = static_cast<float>(i) / 4;
    return x;
  }
};

TEST_F(BulkCopy, AnArrayPassesThroughTwoSlots) {
  for (const int slots : {1, 2, 3, 8}) {
    const int count = slots * kSlotNumbers;
    const std::vector<float> x = quarters(count);
    float* const y = allocate(x.size());
    stream_reversed(true, device(x), y, slots, stream);
    const std::vector<float> found = host(y, x.size());
    ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    for (int i = 0; i < count; ++i) ASSERT_EQ(found[static_cast<size_t>(i)], streamed(i)) << i;
  }
}

TEST_F(BulkCopy, PhasesMustBeToldApart) {
  const std::vector<float> x = quarters(4 * kSlotNumbers);
  float* const y = allocate(x.size());
  stream_reversed(false, device(x), y, 4, stream);
  expect_refused(cudaStreamSynchronize(stream), cudaErrorLaunchFailure,
                 "has ended without waiting for the copy that was started at");
}

}  // namespace
}  // namespace diffscm::softgpu::test
