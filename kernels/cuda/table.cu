#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

#define DIFFSCM_NAME_(target) #target
#define DIFFSCM_NAME(target) DIFFSCM_NAME_(target)

const OperatorTable& operators() {
  static const OperatorTable table = [] {
    OperatorTable t(DIFFSCM_NAME(DIFFSCM_TARGET));
#define DIFFSCM_FILL(name, ...) t.name.run = name;
#define DIFFSCM_FILL_BOTH(name, Args) t.name.run = name, t.name##_bf16.run = name;
    DIFFSCM_OPERATORS(DIFFSCM_FILL, DIFFSCM_FILL_BOTH, DIFFSCM_FILL)
#undef DIFFSCM_FILL_BOTH
#undef DIFFSCM_FILL
    return t;
  }();
  return table;
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
