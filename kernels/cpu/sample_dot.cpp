// Inner products per sample. Double accumulators in eight interleaved lanes: the compiler
// vectorises them, and the order of summation depends on the length alone.
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/table.h"

namespace diffscm::kernels::cpu {

void sample_dot(const SampleDotArgs& a, Stream) {
  parallel_tasks(a.n, a.n * a.elements, [&](int64_t n) {
    const float* x = a.x + n * a.elements;
    const float* z = a.z + n * a.elements;
    constexpr int64_t kLanes = 8;
    double sum[kLanes] = {};
    int64_t e = 0;
    for (; e + kLanes <= a.elements; e += kLanes)
      for (int64_t l = 0; l < kLanes; ++l) sum[l] += double{x[e + l]} * double{z[e + l]};
    for (; e < a.elements; ++e) sum[0] += double{x[e]} * double{z[e]};
    double total = 0;
    for (const double s : sum) total += s;
    a.y[n] = static_cast<float>(total);
  });
}

}  // namespace diffscm::kernels::cpu
