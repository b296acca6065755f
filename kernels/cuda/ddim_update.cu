// DDIM update: not implemented yet.
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

void ddim_update(const DdimUpdateArgs&, Stream) {
  fail("ddim_update: not implemented");
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
