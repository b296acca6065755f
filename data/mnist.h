// The MNIST handwritten digits and other data sets in the same four IDX files.
#pragma once

#include <filesystem>

#include "data/dataset.h"

namespace diffscm::data {

// True when the folder holds the images or labels of either split.
bool is_idx_folder(const std::filesystem::path& folder);

// {train,t10k}-{images-idx3,labels-idx1}-ubyte, plain or .gz. Pixels become x / 127.5 - 1, rows
// stay rows (the official Diff-SCM code transposes; we do not).
Dataset load_idx_folder(const std::filesystem::path& folder, Split split);

// Which digits each digit could plausibly have been (Schut et al. 2021): 0 could be 3, 6 or 8; ...
std::vector<std::vector<int64_t>> plausible_digits();

// Sought in order: $DIFFSCM_DATA and its mnist/ subfolder; shared/data/mnist in any folder above
// the current one and above the program; the cache ($XDG_CACHE_HOME or ~/.cache)/diffscm/mnist.
// Else downloaded into the cache and checked, unless $DIFFSCM_OFFLINE is set to something other
// than 0.
Dataset load_mnist(Split split);

}  // namespace diffscm::data
