#include "kernels/ddim_update.h"

#include "kernels/error.h"

namespace diffscm::kernels {

void check(const DdimUpdateArgs& args) {
  require(args.n >= 0 && args.elements >= 0, "ddim_update: n is {} and elements {}, expected >= 0",
          args.n, args.elements);
  require(args.levels || (args.alpha_bar > 0 && args.alpha_bar <= 1),
          "ddim_update: alpha_bar is {}, not in (0, 1]", args.alpha_bar);
  require(args.levels || args.alpha_bar < 1 || args.threshold == Threshold::none,
          "ddim_update: alpha_bar is 1 and eps cannot be found again after a threshold");
  require(args.levels || (args.alpha_bar_next >= 0 && args.alpha_bar_next <= 1),
          "ddim_update: alpha_bar_next is {}, not in [0, 1]", args.alpha_bar_next);
  require(args.sigma >= 0, "ddim_update: sigma is {}, expected >= 0", args.sigma);
  if (args.n * args.elements == 0) return;
  require(args.x && args.eps && args.out, "ddim_update: x, eps or out is null");
  require(args.noise || args.sigma == 0, "ddim_update: sigma is {} but noise is null", args.sigma);
  require(args.quantile || args.threshold != Threshold::dynamic,
          "ddim_update: the dynamic threshold needs quantile, which is null");
}

void check(const AbsQuantileArgs& args) {
  require(args.n >= 0 && args.elements >= 1,
          "abs_quantile: n is {} and elements {}, expected >= 0 and >= 1", args.n, args.elements);
  require(args.levels || (args.alpha_bar > 0 && args.alpha_bar <= 1),
          "abs_quantile: alpha_bar is {}, not in (0, 1]", args.alpha_bar);
  require(args.q >= 0 && args.q <= 1, "abs_quantile: q is {}, not in [0, 1]", args.q);
  require(args.n == 0 || (args.x && args.eps && args.quantile),
          "abs_quantile: x, eps or quantile is null");
}

}  // namespace diffscm::kernels
