#include "kernels/softgpu/counters.h"

namespace diffscm::softgpu {

InstructionCounters& InstructionCounters::operator+=(const InstructionCounters& other) {
  executed += other.executed;
  lanes += other.lanes;
  sectors += other.sectors;
  bytes += other.bytes;
  wavefronts += other.wavefronts;
  ideal_wavefronts += other.ideal_wavefronts;
  return *this;
}

}  // namespace diffscm::softgpu
