#include "diffusion/progress.h"

namespace diffscm {

void report(int done, int total, int level, const Tensor& x, const Progress& progress,
            const Observer& observer) {
  // Waiting for the device after each level would leave it idle between them; never waiting would
  // report work that is only queued.
  constexpr int kLevelsQueued = 8;
  if (progress) {
    if (done % kLevelsQueued == 0 || done == total) runtime(x.target()).synchronize({});
    progress(done, total);
  }
  if (observer) observer(level, x);
}

}  // namespace diffscm
