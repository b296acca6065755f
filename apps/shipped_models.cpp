#include "apps/shipped_models.h"

#include <fmt/ranges.h>

#include <filesystem>
#include <map>

#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::apps {
namespace {

namespace fs = std::filesystem;

// Name -> file.
std::map<std::string, fs::path> shipped_models() {
  std::error_code ignored;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  std::map<std::string, fs::path> models;
  for (const char* from_program : {"../../weights", "../share/diffscm/weights"}) {
    const fs::path folder = (program / from_program).lexically_normal();
    if (program.empty() || !fs::is_directory(folder, ignored)) continue;
    for (const fs::path& file : io::list_folder(folder))
      if (file.extension() == ".safetensors") models.emplace(file.stem().string(), file);
  }
  return models;
}

}  // namespace

std::optional<fs::path> shipped_model(const std::string& name) {
  const auto models = shipped_models();
  const auto found = models.find(name);
  return found == models.end() ? std::nullopt : std::optional(found->second);
}

std::string find_model(const std::string& given) {
  std::error_code ignored;
  if (fs::exists(given, ignored)) return given;
  if (const auto shipped = shipped_model(given)) return shipped->string();
  std::vector<std::string> names;
  for (const auto& [name, file] : shipped_models()) names.push_back(name);
  fail("no model at {}: give a .safetensors file, a run's folder{}", io::show(given),
       names.empty()
           ? std::string()
           : fmt::format(", or the name of one that came along: {}", fmt::join(names, ", ")));
}

}  // namespace diffscm::apps
