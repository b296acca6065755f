// Matrix product: not implemented yet.
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

template <class T, class U>
void matmul(const BasicMatmulArgs<T, U>&, Stream) {
  fail("matmul: not implemented");
}
template void matmul(const BasicMatmulArgs<float, float>&, Stream);
template void matmul(const BasicMatmulArgs<bf16, bf16>&, Stream);
template void matmul(const BasicMatmulArgs<bf16, float>&, Stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
