#include "kernels/softgpu/counters.h"

#include <iterator>

namespace diffscm::softgpu {

const char* name(InstructionClass c) {
  static const char* const names[] = {
      "integer",     "f32",          "f64",      "convert",     "special",      "control",
      "barrier",     "shuffle",      "mma",      "load global", "store global", "async copy",
      "load shared", "store shared", "ldmatrix", "atomic",      "local",        "param"};
  static_assert(std::size(names) == kInstructionClasses);
  return names[static_cast<size_t>(c)];
}

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
