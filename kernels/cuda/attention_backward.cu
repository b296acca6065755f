// Attention backward: not implemented yet.
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

template <class T>
void attention_backward(const BasicAttentionBackwardArgs<T>&, Stream) {
  fail("attention_backward: not implemented");
}
template void attention_backward(const BasicAttentionBackwardArgs<float>&, Stream);
template void attention_backward(const BasicAttentionBackwardArgs<bf16>&, Stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
