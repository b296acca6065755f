// The mechanisms there are: one line each.
#include "causal/mechanism.h"
#include "causal/mechanisms/table.h"

namespace diffscm::causal {

std::span<const MechanismKind> mechanism_kinds() {
  static constexpr MechanismKind kKinds[] = {
      {"table", "conditional probabilities of a discrete node with discrete parents", make_table},
  };
  return kKinds;
}

}  // namespace diffscm::causal
