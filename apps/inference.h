// What sample, abduct and counterfactual share: models from files, as the functions that the causal
// procedures ask for; images in, output folder out.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "apps/command.h"
#include "data/dataset.h"
#include "diffusion/abduction.h"
#include "diffusion/anti_causal_predictor.h"
#include "diffusion/progress.h"
#include "engine/io/grid.h"
#include "models/checkpoint.h"

namespace diffscm::apps {

struct DataFlags {
  std::string data, split = "test", index = "0:10";
};
void add_data_flags(CLI::App* command, DataFlags& flags);

// How far up the chain, in how many levels, and by which method.
struct AbductionFlags {
  AbductionOptions options;
  std::string method = "fixed-point", threshold = "none";
  int steps = 0;  // 0: the model's
  double fraction = 1;
};
void add_abduction_flags(CLI::App* command, AbductionFlags& flags);
void add_abduction_threshold(CLI::App* command, AbductionFlags& flags);

struct Selection {
  data::Dataset dataset;
  std::vector<int64_t> index;
};
Selection select(const DataFlags& flags, const DiffusionModel& model);

// A progress bar over levels of the chain, for batch `batch` of `batches`; throws Stopped on
// Ctrl-C.
Progress level_progress(Common& common, const std::string& what, int64_t batch, int64_t batches);

double median(std::vector<double> values);

// One JSON object per line, all or nothing.
void write_jsonl(const std::filesystem::path& path,
                 const std::vector<nlohmann::ordered_json>& lines);
// run.json: what was run, with what, on what, and what came out.
void write_run(const std::filesystem::path& out, const Common& common,
               const nlohmann::ordered_json& options, const std::vector<const ModelInfo*>& models,
               const nlohmann::ordered_json& summary);

}  // namespace diffscm::apps
