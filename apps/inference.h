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
#include "causal/abduction.h"
#include "causal/models.h"
#include "causal/noise_schedule.h"
#include "causal/progress.h"
#include "engine/data/dataset.h"
#include "engine/io/grid.h"
#include "models/checkpoint.h"
#include "models/classifier.h"
#include "models/unet.h"

namespace diffscm::apps {

class DiffusionModel {
 public:
  // steps = 0: as many as the model's preset samples with. `layers`: f32 or bf16.
  DiffusionModel(const std::string& path, Target target, int steps, Dtype layers = Dtype::f32);

  const ModelInfo& info() const { return info_; }
  const Chain& chain() const { return *chain_; }
  Shape image_shape(int64_t n) const;  // [n, H, W, C]
  Target target() const { return target_; }
  Dtype layers() const { return layers_; }
  EpsilonModel epsilon() const;
  // Throws Error unless the data set's images fit.
  void check_fits(const data::Dataset& dataset) const;

 private:
  ModelInfo info_;
  Target target_;
  Dtype layers_;
  std::unique_ptr<UNet> unet_;
  std::unique_ptr<Chain> chain_;
};

class AntiCausalPredictor {
 public:
  // Throws Error unless it was trained on the images and the noise schedule of `model`.
  AntiCausalPredictor(const std::string& path, const DiffusionModel& model);

  const ModelInfo& info() const { return info_; }
  int64_t classes() const { return classifier_->config().classes; }
  // One target class per image of the batch.
  GuidanceGradient gradient(std::vector<int64_t> targets) const;
  // p(class | clean image), at t = 0: [N][classes].
  std::vector<std::vector<float>> predict(const Tensor& images) const;

 private:
  ModelInfo info_;
  Target target_;
  std::unique_ptr<Classifier> classifier_;
};

struct DataFlags {
  std::string data, split = "test", index = "0:10";
};
void add_data_flags(CLI::App* command, DataFlags& flags);

// How far up the chain, in how many levels, and by which method.
struct AbductionFlags {
  AbductionOptions options;
  std::string method = "fixed-point";
  int steps = 0;  // 0: the model's
  double fraction = 1;
};
void add_abduction_flags(CLI::App* command, AbductionFlags& flags);

struct Selection {
  data::Dataset dataset;
  std::vector<int64_t> index;
};
Selection select(const DataFlags& flags, const DiffusionModel& model);

// A progress bar over levels of the chain, for batch `batch` of `batches`; throws Stopped on
// Ctrl-C.
Progress level_progress(Common& common, const std::string& what, int64_t batch, int64_t batches);

// Mean |a - b| per image in grey levels (127.5 per unit).
std::vector<double> l1_grey_levels(const Tensor& a, const Tensor& b);
Tensor clamp_to_image(const Tensor& x);                  // to [-1, 1]
Tensor concatenate(const std::vector<Tensor>& batches);  // along the first dimension
double median(std::vector<double> values);

// One JSON object per line, all or nothing.
void write_jsonl(const std::filesystem::path& path,
                 const std::vector<nlohmann::ordered_json>& lines);
// run.json: what was run, with what, on what, and what came out.
void write_run(const std::filesystem::path& out, const Common& common,
               const nlohmann::ordered_json& options, const std::vector<const ModelInfo*>& models,
               const nlohmann::ordered_json& summary);

}  // namespace diffscm::apps
