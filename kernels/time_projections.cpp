#include "kernels/time_projections.h"

#include "kernels/error.h"

namespace diffscm::kernels {

void check(const TimeProjectionsArgs& args) {
  require(args.n >= 0 && args.hidden >= 1,
          "time_projections: n is {} and hidden {}, expected >= 0 and >= 1", args.n, args.hidden);
  require(
      args.channels >= (args.last_frequency ? 4 : 2) && args.channels % 2 == 0,
      "time_projections: channels is {}, expected an even number >= 2, with last_frequency >= 4",
      args.channels);
  require(args.n == 0 || (args.t && args.weight1 && args.bias1 && args.weight2 && args.bias2),
          "time_projections: t, a weight or a bias is null");
  // x stands for the embedding, which is in no memory of the caller's.
  check(LinearGroupArgs{args.n, args.hidden, args.t, args.count, args.layers});
}

}  // namespace diffscm::kernels
