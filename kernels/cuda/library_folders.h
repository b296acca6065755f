// Where NVIDIA's libraries may lie, for those that are loaded when the program runs.
#pragma once

#include <string>
#include <vector>

namespace diffscm::kernels::cuda {

// What the environment variable `variable` says (a folder, or the library file) or else the
// loader's own path (""), the CUDA toolkit's folders, and `python_folder` (a pattern) below the
// packages of every Python found.
std::vector<std::string> library_folders(const char* variable, const char* python_folder);

}  // namespace diffscm::kernels::cuda
