// Attention: not implemented yet.
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

template <class T>
void attention(const BasicAttentionArgs<T>&, Stream) {
  fail("attention: not implemented");
}
template void attention(const BasicAttentionArgs<float>&, Stream);
template void attention(const BasicAttentionArgs<bf16>&, Stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
