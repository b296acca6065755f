#include "data/cache.h"

#include "engine/environment.h"

namespace diffscm::data {

namespace fs = std::filesystem;

fs::path cache_folder(std::string_view name) {
  const fs::path cache = environment("XDG_CACHE_HOME"), home = environment("HOME");
  if (!cache.empty()) return cache / "diffscm" / name;
  return (home.empty() ? fs::temp_directory_path() : home / ".cache") / "diffscm" / name;
}

}  // namespace diffscm::data
