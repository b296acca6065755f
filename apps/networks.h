// Finding the networks that belong together.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "models/checkpoint.h"

namespace diffscm::apps {

// The models of one folder, files FOLDER/NAME.safetensors and runs FOLDER/NAME/model.safetensors,
// each asked what it is.
class NetworkFolder {
 public:
  // `given`, or where `model` lies: its file's folder, or for a run the folder of runs.
  NetworkFolder(const std::string& given, const ModelInfo& model);

  // `given`, or the folder's only model of that kind ("vae"): of several, those that were trained
  // on the diffusion model's data; of those, the one with its name (mnist-vae beside mnist-unet).
  // Throws UsageError, naming the flag --ROLE, unless one is left.
  std::string find(const std::string& given, const std::string& role) const;
  bool has(const std::string& role) const { return !candidates(role).empty(); }
  // The model that find() would choose, or nothing where it would throw.
  std::string sole(const std::string& role) const;

 private:
  std::vector<const ModelInfo*> candidates(const std::string& role) const;
  std::filesystem::path folder_;
  std::string name_, data_;  // of the diffusion model
  std::vector<ModelInfo> models_;
};

}  // namespace diffscm::apps
