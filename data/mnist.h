// The MNIST handwritten digits.
#pragma once

#include <cstdint>
#include <vector>

#include "data/dataset.h"

namespace diffscm::data {

// Which digits each digit could plausibly have been (Schut et al. 2021): 0 could be 3, 6 or 8; ...
std::vector<std::vector<int64_t>> plausible_digits();

// The four files are sought in $DIFFSCM_DATA and its mnist/ subfolder or, if it is not set, in
// shared/data/mnist in any folder above the current one and above the program; then in the cache
// ($XDG_CACHE_HOME or ~/.cache)/diffscm/mnist. Else they are downloaded into the cache and checked,
// unless $DIFFSCM_OFFLINE is set to something other than 0. Both splits must be found, whichever is
// asked for: a missing test file is known before training, not after it.
Dataset load_mnist(Split split);
// Whether load_mnist would find both splits on this machine.
bool has_mnist();

}  // namespace diffscm::data
