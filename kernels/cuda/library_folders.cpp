#include "kernels/cuda/library_folders.h"

#include <glob.h>

#include <cstdlib>

namespace diffscm::kernels::cuda {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

}  // namespace

std::vector<std::string> library_folders(const char* variable, const char* python_folder) {
  const std::string wish = environment(variable);
  if (!wish.empty()) return {wish};
  std::vector<std::string> found{""};
  for (const char* home : {"CUDA_HOME", "CUDA_PATH"})
    if (const std::string value = environment(home); !value.empty())
      found.push_back(value + "/lib64");
  found.insert(found.end(), {"/usr/local/cuda/lib64", "/usr/local/cuda/lib"});
  std::vector<std::string> prefixes;
  for (const char* prefix : {"VIRTUAL_ENV", "CONDA_PREFIX"})
    if (const std::string value = environment(prefix); !value.empty()) prefixes.push_back(value);
  if (const std::string home = environment("HOME"); !home.empty())
    prefixes.push_back(home + "/.local");
  prefixes.insert(prefixes.end(), {"/usr/local", "/usr"});
  for (const std::string& prefix : prefixes) {
    glob_t matches{};
    const std::string pattern = prefix + "/lib/python3*/*-packages/" + python_folder;
    if (glob(pattern.c_str(), 0, nullptr, &matches) == 0)
      found.insert(found.end(), matches.gl_pathv, matches.gl_pathv + matches.gl_pathc);
    globfree(&matches);
  }
  return found;
}

}  // namespace diffscm::kernels::cuda
