// A large batch in the memory of a small one.
#pragma once

#include "diffusion/epsilon.h"

namespace diffscm {

// The same function of images, whose network is asked about at most `images` of them at a time.
// Throws Error unless images >= 1.
TimestepFunction in_parts(const TimestepFunction& f, int64_t images);

}  // namespace diffscm
