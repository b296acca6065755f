// Inner products per sample.
#include "kernels/cpu/dot.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/table.h"

namespace diffscm::kernels::cpu {

void sample_dot(const SampleDotArgs& a, Stream) {
  parallel_tasks(a.n, a.n * a.elements, [&](int64_t n) {
    a.y[n] = static_cast<float>(dot(a.elements, a.x + n * a.elements, a.z + n * a.elements));
  });
}

}  // namespace diffscm::kernels::cpu
