// Elementwise operators: not implemented yet.
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

template <class T>
void linear_combination(const BasicLinearCombinationArgs<T>&, Stream) {
  fail("linear_combination: not implemented");
}
template void linear_combination(const BasicLinearCombinationArgs<float>&, Stream);
template void linear_combination(const BasicLinearCombinationArgs<bf16>&, Stream);
template <class From, class To>
void cast(const CastArgs<From, To>&, Stream) {
  fail("cast: not implemented");
}
template void cast(const CastArgs<float, bf16>&, Stream);
template void cast(const CastArgs<bf16, float>&, Stream);
template <class T>
void silu(const BasicSiluArgs<T>&, Stream) {
  fail("silu: not implemented");
}
template void silu(const BasicSiluArgs<float>&, Stream);
template void silu(const BasicSiluArgs<bf16>&, Stream);
template <class T>
void silu_backward(const BasicSiluBackwardArgs<T>&, Stream) {
  fail("silu_backward: not implemented");
}
template void silu_backward(const BasicSiluBackwardArgs<float>&, Stream);
template void silu_backward(const BasicSiluBackwardArgs<bf16>&, Stream);
void timestep_embedding(const TimestepEmbeddingArgs&, Stream) {
  fail("timestep_embedding: not implemented");
}
void add_noise(const AddNoiseArgs&, Stream) {
  fail("add_noise: not implemented");
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
