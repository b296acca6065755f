// What blocks are told of the time: operator by operator, each on all threads.
#include "kernels/time_projections.h"

#include <vector>

#include "kernels/cpu/table.h"

namespace diffscm::kernels::cpu {

void time_projections(const TimeProjectionsArgs& args, Stream stream) {
  const int64_t n = args.n, c = args.channels, hidden = args.hidden;
  if (n == 0) return;
  std::vector<float> embedding(n * c), first(n * hidden), e(n * hidden);
  timestep_embedding({n, c, args.t, embedding.data(), args.last_frequency}, stream);
  matmul({n, hidden, c, embedding.data(), c, false, args.weight1, c, true, args.bias1, nullptr,
          first.data(), hidden},
         stream);
  silu({n * hidden, first.data(), first.data()}, stream);
  matmul({n, hidden, hidden, first.data(), hidden, false, args.weight2, hidden, true, args.bias2,
          args.more, e.data(), hidden},
         stream);
  silu({n * hidden, e.data(), e.data()}, stream);
  linear_group({n, hidden, e.data(), args.count, args.layers}, stream);
}

}  // namespace diffscm::kernels::cpu
