#include "evaluation/baselines/baseline.h"

namespace diffscm::baselines {

void require_targets(std::span<const int64_t> targets, const Tensor& images, int64_t classes) {
  require(static_cast<int64_t>(targets.size()) == images.dim(0), "{} targets for {} images",
          targets.size(), images.dim(0));
  for (const int64_t target : targets)
    require(target >= 0 && target < classes, "target {} is outside the {} classes", target,
            classes);
}

}  // namespace diffscm::baselines
