// Inner products per sample: not implemented yet.
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

void sample_dot(const SampleDotArgs&, Stream) {
  fail("sample_dot: not implemented");
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
