// Networks as a whole, where a target can compute them so.
#pragma once

#include "engine/target.h"
#include "kernels/whole_network.h"

namespace diffscm {

// Null where the target cannot, and in a dry run, which would not see its memory.
const kernels::WholeNetwork* whole_network(Target target);

}  // namespace diffscm
