#include "kernels/cpu/isa.h"

#include <cstdlib>

#include "kernels/error.h"

namespace diffscm::kernels::cpu {

Isa parse_isa(std::string_view name) {
  if (name.empty()) return best_isa();
  require(name == "v1" || name == "v3" || name == "v4",
          "DIFFSCM_ISA={}: unknown instruction set, choose v1, v3 or v4", name);
  const Isa isa = name == "v1" ? Isa::kV1 : name == "v3" ? Isa::kV3 : Isa::kV4;
  require(isa_supported(isa), "DIFFSCM_ISA={}: this processor has no such instructions", name);
  return isa;
}

Isa chosen_isa() {
  static const Isa isa = [] {
    const char* value = std::getenv("DIFFSCM_ISA");
    return parse_isa(value ? value : "");
  }();
  return isa;
}

}  // namespace diffscm::kernels::cpu
