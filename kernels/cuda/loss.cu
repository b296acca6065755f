// Losses: not implemented yet.
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

void mse(const MseArgs&, Stream) {
  fail("mse: not implemented");
}
void log_softmax(const LogSoftmaxArgs&, Stream) {
  fail("log_softmax: not implemented");
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
