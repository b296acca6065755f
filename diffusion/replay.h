// Networks as recorded work (engine/captured_step.h): on a GPU a small U-Net is bound by its
// hundreds of launches, which a replay queues as one.
#pragma once

#include "diffusion/epsilon.h"

namespace diffscm {

// f, evaluated by replays for batches of up to `largest` images, where f is recordable and the
// target records; else f itself. Batches that shrink image by image (fixed-point abduction) are
// padded to the next power of two: a recording costs two or three evaluations and holds its
// activations, so there must be few of them, and padding wastes less than that. (Images do not
// influence each other: what stands in the padding does not matter.) What is bound to f is copied
// into the recording's own memory, so that it may change.
TimestepFunction replayed(const TimestepFunction& f, Target target, int64_t largest);

}  // namespace diffscm
