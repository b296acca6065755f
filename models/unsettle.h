// Networks as training begins with them have layers that are zero, behind which nothing is seen.
#pragma once

#include <cstdint>
#include <span>

#include "autograd/variable.h"

namespace diffscm {

// Moves every value a little, at random: what is measured or compared is then the whole network.
void unsettle(std::span<Variable* const> parameters, uint64_t seed);

}  // namespace diffscm
