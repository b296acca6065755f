#include "data/cache.h"

#include <cstdlib>

namespace diffscm::data {
namespace {

namespace fs = std::filesystem;

fs::path variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

}  // namespace

fs::path cache_folder(std::string_view name) {
  const fs::path cache = variable("XDG_CACHE_HOME"), home = variable("HOME");
  if (!cache.empty()) return cache / "diffscm" / name;
  return (home.empty() ? fs::temp_directory_path() : home / ".cache") / "diffscm" / name;
}

}  // namespace diffscm::data
