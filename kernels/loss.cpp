#include "kernels/loss.h"

#include "kernels/error.h"

namespace diffscm::kernels {

void check(const MseArgs& args) {
  require(args.n >= 0 && args.elements >= 1, "mse: n is {} and elements {}, expected >= 0 and >= 1",
          args.n, args.elements);
  require(args.n == 0 || (args.prediction && args.target && args.loss),
          "mse: prediction, target or loss is null");
}

void check(const LogSoftmaxArgs& args) {
  require(args.n >= 0 && args.classes >= 1,
          "log_softmax: n is {} and classes {}, expected >= 0 and >= 1", args.n, args.classes);
  require(args.n == 0 || (args.logits && args.label && args.log_p),
          "log_softmax: logits, label or log_p is null");
}

}  // namespace diffscm::kernels
