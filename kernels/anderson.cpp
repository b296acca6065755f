#include "kernels/anderson.h"

#include "kernels/error.h"

namespace diffscm::kernels {

void check(const AndersonArgs& args) {
  require(args.n >= 0 && args.images >= args.n && args.elements >= 1,
          "anderson: {} of {} images of {} elements, expected 0 or more, as many, 1 or more",
          args.n, args.images, args.elements);
  require(args.memory >= 0 && args.memory <= kAndersonMemoryMost,
          "anderson: memory is {}, expected 0 to {}", args.memory, kAndersonMemoryMost);
  require(args.plain > 0 && args.longest > 0 && args.tolerance >= 0,
          "anderson: plain, longest, tolerance are {}, {}, {}, expected > 0, > 0, >= 0", args.plain,
          args.longest, args.tolerance);
  if (args.n == 0) return;
  require(args.rows && args.y && args.below && args.eps_trial && args.trial && args.x && args.f &&
              args.eps && args.state,
          "anderson: an array is null");
  require(args.memory == 0 || (args.dx && args.df), "anderson: dx or df is null");
}

}  // namespace diffscm::kernels
