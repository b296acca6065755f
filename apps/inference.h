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
#include "causal/intervention.h"
#include "data/dataset.h"
#include "diffusion/abduction.h"
#include "diffusion/anti_causal_predictor.h"
#include "diffusion/progress.h"
#include "engine/io/grid.h"
#include "models/checkpoint.h"

namespace diffscm::apps {

struct DataFlags {
  static constexpr int64_t kFirst = 10;  // images without --index
  std::string data, split = "test", index;
  template <class V>
  void visit(V&& flag) {
    flag("data", &data, data::kSources, {.required = true, .value = "mnist|digits|FILE"});
    flag("split", &split, "which part of the data", {.choices = {"train", "test"}});
    flag("index", &index, "which images: 7  0:10  0:100:10  3,5,9",
         {.value = "RANGE", .otherwise = "the first 10"});
  }
};

// How far up the chain, in how many levels, and by which method.
struct AbductionFlags {
  AbductionOptions options;
  std::string method, threshold = "none";
  int steps = 0;  // 0: the model's
  double fraction = 1;
  template <class V>
  void visit(V&& flag) {
    flag("steps", &steps, "levels of the chain",
         {.least = 1, .most = 1e6, .otherwise = "the model's"});
    flag("fraction", &fraction, "how far up the chain to go", {.most = 1, .positive = true});
    flag("abduction", &method,
         "fixed-point (exact to --tolerance), ddim (one pass), or ddpm (exact, one of many noises)",
         {.choices = {"fixed-point", "ddim", "ddpm"},
          .otherwise = "ddpm if the encoding is factual, else fixed-point"});
    flag("tolerance", &options.tolerance, "fixed-point: residual in grey levels",
         {.positive = true});
    flag("max-iterations", &options.max_iterations,
         "fixed-point: network evaluations per image and level", {.least = 1, .most = 1e6});
  }
  template <class V>
  void visit_threshold(V&& flag) {
    flag("abduction-threshold", &threshold, "ddim abduction: of its predicted clean image",
         {.choices = {"none", "clip", "dynamic"}});
  }
  // The method, which is said in `method` from now on.
  AbductionMethod resolve(Encoding encoding);
};

struct Selection {
  data::Dataset dataset;
  std::vector<int64_t> index;
};
Selection select(const DataFlags& flags, const DiffusionModel& model);

// Says so when a predictor was trained on other data than the diffusion model that it is to guide
// or judge.
void warn_of_other_data(Common& common, const ModelInfo& model, const ModelInfo& predictor);

// Says so when images of a command came out with pixels that are not finite.
void warn_of_failed(Common& common, int64_t failed, int64_t images, const std::string& where);

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
