#include "kernels/variational_bound.h"

#include "kernels/error.h"

namespace diffscm::kernels {

void check(const VariationalBoundArgs& args) {
  require(args.n >= 0 && args.elements >= 1,
          "variational_bound: n is {} and elements {}, expected >= 0 and >= 1", args.n,
          args.elements);
  require(args.n == 0 || (args.eps && args.v && args.noise && args.x_t && args.step && args.loss),
          "variational_bound: an array is null");
}

}  // namespace diffscm::kernels
