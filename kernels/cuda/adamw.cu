// AdamW: not implemented yet.
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

void adamw(const AdamwArgs&, Stream) {
  fail("adamw: not implemented");
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
