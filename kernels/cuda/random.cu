// Normal numbers: not implemented yet.
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

void normal(const NormalArgs&, Stream) {
  fail("normal: not implemented");
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
