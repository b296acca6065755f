#include "apps/shipped_models.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::apps {
namespace {

namespace fs = std::filesystem;

// Name -> file, of those in `folder` that have one of the endings.
std::map<std::string, fs::path> shipped(const std::string& folder_name,
                                        const std::vector<std::string>& endings) {
  std::error_code ignored;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  std::map<std::string, fs::path> files;
  for (const char* from_program : {"../..", "../share/diffscm"}) {
    const fs::path folder = (program / from_program / folder_name).lexically_normal();
    if (program.empty() || !fs::is_directory(folder, ignored)) continue;
    for (const fs::path& file : io::list_folder(folder))
      if (std::ranges::count(endings, file.extension().string()) > 0)
        files.emplace(file.stem().string(), file);
  }
  return files;
}

std::map<std::string, fs::path> shipped_models() {
  return shipped("weights", {".safetensors"});
}

std::string names_of(const std::map<std::string, fs::path>& files) {
  std::vector<std::string> names;
  for (const auto& [name, file] : files) names.push_back(name);
  return names.empty()
             ? std::string()
             : fmt::format(", or the name of one that came along: {}", fmt::join(names, ", "));
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
  fail("no model at {}: give a .safetensors file, a run's folder{}", io::show(given),
       names_of(shipped_models()));
}

std::string find_graph(const std::string& given) {
  std::error_code ignored;
  if (fs::exists(given, ignored)) return given;
  const auto graphs = shipped("graphs", {".toml", ".bif"});
  if (const auto found = graphs.find(given); found != graphs.end()) return found->second.string();
  fail("no graph at {}: give a .toml, .bif, .dot or .json file, a folder made by scm fit{}",
       io::show(given), names_of(graphs));
}

}  // namespace diffscm::apps
