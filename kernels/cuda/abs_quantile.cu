// Quantile: not implemented yet.
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

void abs_quantile(const AbsQuantileArgs&, Stream) {
  fail("abs_quantile: not implemented");
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
