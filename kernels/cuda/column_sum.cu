// Column sum: not implemented yet.
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

template <class T>
void column_sum(const BasicColumnSumArgs<T>&, Stream) {
  fail("column_sum: not implemented");
}
template void column_sum(const BasicColumnSumArgs<float>&, Stream);
template void column_sum(const BasicColumnSumArgs<bf16>&, Stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
