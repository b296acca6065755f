// Group norm: not implemented yet.
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

template <class T>
void group_norm(const BasicGroupNormArgs<T>&, Stream) {
  fail("group_norm: not implemented");
}
template void group_norm(const BasicGroupNormArgs<float>&, Stream);
template void group_norm(const BasicGroupNormArgs<bf16>&, Stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
