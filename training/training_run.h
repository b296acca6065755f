// A training run's folder: its model, its checkpoint, its log.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "training/trainer.h"

namespace diffscm {

// The optimiser of a run, and what its folder holds of it. Makes the folder.
class TrainingRun {
 public:
  using Say = std::function<void(const std::string&)>;

  TrainingRun(TrainingTask& task, const TrainingOptions& options);

  Adamw& optimiser() { return optimiser_; }
  double seconds() const { return earlier_seconds_; }  // of sessions before this one
  std::filesystem::path model_path() const { return options_.out / "model.safetensors"; }
  std::filesystem::path checkpoint_path() const { return options_.out / "checkpoint.safetensors"; }
  std::filesystem::path log_path() const { return options_.out / "log.jsonl"; }

  // Restores the last checkpoint and says so. False: there is none. Throws Error when it is of a
  // run with other settings.
  bool restore(const Say& say);
  // Lines of steps that the restored checkpoint has not seen would appear twice.
  void trim_log() const;
  // Checkpoint and model, each replaced atomically. `last`: what the log said last.
  void save(double session_seconds, const TrainingProgress& last);

 private:
  std::string device_name() const { return name_of(optimiser_.squared_gradient().target()); }
  void check_settings(const nlohmann::json& stored, const Say& say) const;
  void check_same(const std::string& name, const nlohmann::json& before, const nlohmann::json& now,
                  std::vector<std::string>& unknown) const;
  std::string trained_on(int64_t step, int64_t steps_before) const;
  std::vector<std::pair<std::string, Tensor*>> arenas();

  TrainingTask& task_;
  const TrainingOptions& options_;
  Adamw optimiser_;
  double earlier_seconds_ = 0;
};

}  // namespace diffscm
