// How long work reports where it is.
#pragma once

#include <functional>

#include "engine/tensor.h"

namespace diffscm {

// Called after each level of the chain with the number of levels done and to do. Throwing from it
// stops the work: the exception passes through to the caller, and nothing else is left behind. On a
// device, the last few levels reported may still be queued.
using Progress = std::function<void(int done, int total)>;

// Called with the images that stand at a level of the chain once they do: what abduction and
// sampling go on from, never a trial. x is valid during the call.
using Observer = std::function<void(int level, const Tensor& x)>;

// Tells both, where they are not empty, that `done` of `total` levels are done and the images x
// stand at `level`.
void report(int done, int total, int level, const Tensor& x, const Progress& progress,
            const Observer& observer);

}  // namespace diffscm
