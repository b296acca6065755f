#include "apps/networks.h"

#include <algorithm>

#include "apps/command.h"
#include "engine/io/ending.h"
#include "engine/io/file.h"

namespace diffscm::apps {
namespace {

namespace fs = std::filesystem;

constexpr const char* kOfARun = "model.safetensors";

// What people call a model: mnist-vae for mnist-vae.safetensors and mnist-vae/model.safetensors.
std::string name_of_model(const fs::path& path) {
  return path.filename() == kOfARun ? path.parent_path().filename().string() : path.stem().string();
}

fs::path folder_of(const fs::path& model) {
  const fs::path file = fs::absolute(model).lexically_normal();
  return file.filename() == kOfARun ? file.parent_path().parent_path() : file.parent_path();
}

std::string data_of(const ModelInfo& info) {
  const auto name = info.data.find("name");
  return name != info.data.end() && name->is_string() ? name->get<std::string>() : "";
}

// Keeps those that fit, if any do.
template <class Fits>
void narrow(std::vector<const ModelInfo*>& models, Fits&& fits) {
  if (models.size() > 1 && std::any_of(models.begin(), models.end(), fits))
    std::erase_if(models, [&](const ModelInfo* m) { return !fits(m); });
}

}  // namespace

NetworkFolder::NetworkFolder(const std::string& given, const ModelInfo& model)
    : folder_(given.empty() ? folder_of(model.path) : fs::path(given)),
      name_(name_of_model(model.path)),
      data_(data_of(model)) {
  if (!fs::is_directory(folder_))
    throw UsageError(fmt::format("--networks {} is not a folder", folder_.string()));
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const fs::path file = entry.is_directory() ? entry.path() / kOfARun : entry.path();
    if (io::ending_of(file.native()) != ".safetensors" || !fs::is_regular_file(file)) continue;
    try {
      models_.push_back(read_model_info(file));
    } catch (const Error&) {  // another program's file: not ours to judge
    }
  }
  std::sort(models_.begin(), models_.end(),
            [](const ModelInfo& a, const ModelInfo& b) { return a.path < b.path; });
}

std::vector<const ModelInfo*> NetworkFolder::candidates(const std::string& role) const {
  std::vector<const ModelInfo*> found;
  for (const ModelInfo& m : models_)
    if (m.kind == role) found.push_back(&m);
  narrow(found, [&](const ModelInfo* m) { return data_of(*m) == data_; });
  const std::string prefix = name_.substr(0, name_.rfind('-') + 1);
  narrow(found, [&](const ModelInfo* m) { return name_of_model(m->path) == prefix + role; });
  return found;
}

std::string NetworkFolder::sole(const std::string& role) const {
  const auto found = candidates(role);
  return found.size() == 1 ? found.front()->path : "";
}

std::string NetworkFolder::find(const std::string& given, const std::string& role) const {
  if (!given.empty()) return given;
  const auto found = candidates(role);
  if (found.empty())
    throw UsageError(fmt::format(
        "--{} is needed: {} holds none (diffscm train {} makes one; --networks names a folder)",
        role, folder_.string(), role));
  if (found.size() > 1) {
    std::string names;
    for (const ModelInfo* m : found) names += (names.empty() ? "" : ", ") + m->path;
    throw UsageError(fmt::format("--{} is needed: there are several: {}", role, names));
  }
  return found.front()->path;
}

}  // namespace diffscm::apps
