#include "kernels/cpu/table.h"

#include "kernels/cpu/isa.h"

namespace diffscm::kernels::cpu {

const OperatorTable& operators() {
  static const OperatorTable table = [] {
    chosen_isa();  // an error in DIFFSCM_ISA is one here
    OperatorTable t("cpu");
#define F32(name, Args) t.name.run = name;
#define BF16(name, ...)
    DIFFSCM_OPERATORS(F32, F32, BF16)
#undef BF16
#undef F32
    return t;
  }();
  return table;
}

}  // namespace diffscm::kernels::cpu
