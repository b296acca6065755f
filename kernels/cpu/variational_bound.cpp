// The variational bound's term: the value and its gradient in one pass, one sample per task. A few
// exponentials per number of the image and nothing per layer: plain arithmetic in double.
#include "kernels/variational_bound.h"

#include "kernels/bound_term.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/table.h"

namespace diffscm::kernels::cpu {

void variational_bound(const VariationalBoundArgs& args, Stream) {
  if (args.n == 0) return;
  const double per_number = 1 / (std::numbers::ln2 * static_cast<double>(args.elements));
  parallel_tasks(args.n, args.n * args.elements * 32, [&](int64_t n) {
    const BoundStep step = bound_step(args.step, n);
    double nats = 0;
    for (int64_t e = n * args.elements; e < (n + 1) * args.elements; ++e) {
      const BoundTerm term = bound_term(step, args.v[e], args.eps[e], args.noise[e], args.x_t[e]);
      nats += term.value;
      if (args.gradient)
        args.gradient[e] = static_cast<float>(args.weight * per_number * term.slope);
    }
    args.loss[n] = static_cast<float>(nats * per_number);
  });
}

}  // namespace diffscm::kernels::cpu
