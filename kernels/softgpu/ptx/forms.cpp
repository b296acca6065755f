#include "kernels/softgpu/ptx/forms.h"

namespace diffscm::softgpu {

const Forms& forms() {
  static const Forms all = [] {
    Forms f;
    add_integer_forms(f);
    add_float_forms(f);
    add_conversion_forms(f);
    add_comparison_forms(f);
    add_move_forms(f);
    add_memory_forms(f);
    add_atomic_forms(f);
    add_async_copy_forms(f);
    add_bulk_copy_forms(f);
    add_collective_forms(f);
    add_matrix_forms(f);
    add_warpgroup_forms(f);
    add_control_forms(f);
    return f;
  }();
  return all;
}

}  // namespace diffscm::softgpu
