// Pooling: not implemented yet.
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

template <class T>
void avg_pool(const BasicAvgPoolArgs<T>&, Stream) {
  fail("avg_pool: not implemented");
}
template void avg_pool(const BasicAvgPoolArgs<float>&, Stream);
template void avg_pool(const BasicAvgPoolArgs<bf16>&, Stream);
template <class T>
void avg_pool_backward(const BasicAvgPoolBackwardArgs<T>&, Stream) {
  fail("avg_pool_backward: not implemented");
}
template void avg_pool_backward(const BasicAvgPoolBackwardArgs<float>&, Stream);
template void avg_pool_backward(const BasicAvgPoolBackwardArgs<bf16>&, Stream);
template <class T>
void pool_tokens(const BasicPoolTokensArgs<T>&, Stream) {
  fail("pool_tokens: not implemented");
}
template void pool_tokens(const BasicPoolTokensArgs<float>&, Stream);
template void pool_tokens(const BasicPoolTokensArgs<bf16>&, Stream);
template <class T>
void pool_tokens_backward(const BasicPoolTokensBackwardArgs<T>&, Stream) {
  fail("pool_tokens_backward: not implemented");
}
template void pool_tokens_backward(const BasicPoolTokensBackwardArgs<float>&, Stream);
template void pool_tokens_backward(const BasicPoolTokensBackwardArgs<bf16>&, Stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
