#include "kernels/adamw.h"

#include "kernels/error.h"

namespace diffscm::kernels {

void check(const AdamwArgs& args) {
  require(args.n >= 0, "adamw: n is {}, expected >= 0", args.n);
  require(args.schedule || args.step >= 1, "adamw: step is {}, the first step is 1", args.step);
  require(args.beta1 >= 0 && args.beta1 < 1 && args.beta2 >= 0 && args.beta2 < 1,
          "adamw: beta1 is {} and beta2 {}, expected within [0, 1)", args.beta1, args.beta2);
  require(args.n == 0 || (args.gradient && args.parameter && args.m && args.v),
          "adamw: gradient, parameter, m or v is null");
}

}  // namespace diffscm::kernels
