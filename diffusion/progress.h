// How long work reports where it is.
#pragma once

#include <functional>

namespace diffscm {

// Called after each level of the chain with the number of levels done and to do. Throwing from it
// stops the work: the exception passes through to the caller, and nothing else is left behind.
using Progress = std::function<void(int done, int total)>;

}  // namespace diffscm
