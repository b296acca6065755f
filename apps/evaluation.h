// What `sweep` and `evaluate` share: networks, flags, and the way from an experiment's folder to
// tables, pictures and a report.
#pragma once

#include <memory>

#include "apps/methods.h"
#include "apps/report/report.h"
#include "causal/evaluation/summary.h"
#include "causal/metrics/evaluator.h"
#include "models/mlp_ensemble.h"

namespace diffscm::apps {

struct EvaluationFlags {
  std::string model, classifier, vae, oracle, autoencoders, ensemble;  // empty: beside the model
  std::string data = "mnist", split = "test", out, shard = "0/1";
  AbductionFlags abduction;
  int repeats = 10;
  int64_t images = 100, batch = 50, cycled_images = 10;
  bool resume = false, report = false, quick = false;
};
void add_evaluation_flags(CLI::App* command, EvaluationFlags& flags);

// The file of `role` ("vae") that belongs to the diffusion model: mnist-unet.safetensors has
// mnist-vae.safetensors beside it. Throws UsageError naming the flag when the names do not follow
// that pattern.
std::string sibling(const std::string& model, const std::string& role);

// Everything loaded once.
struct Evaluation {
  Evaluation(Common& common, const EvaluationFlags& flags);

  EvaluationFlags flags;
  std::unique_ptr<DiffusionModel> model;
  std::unique_ptr<AntiCausalPredictor> guide;
  std::unique_ptr<Evaluator> evaluator;
  data::Dataset test, train;
  std::vector<Trial> trials;
  int shard = 0, shards = 1;

  // Metrics of one batch, with the guide's opinion and, for `digits`, the distance to the truth.
  Scorer scorer() const;
  // What changes results, for experiment.json.
  nlohmann::ordered_json settings(const nlohmann::ordered_json& own) const;
  std::vector<std::pair<std::string, std::string>> facts(const Common& common) const;
  // Adds the metrics of whole sets (Frechet, MMD), one value per repeat.
  void add_set_metrics(std::vector<ArmSummary>& summaries) const;
};

// Runs the experiment with a progress bar; false when other shards still have to finish.
bool run(Common& common, const Evaluation& evaluation, const std::vector<Producer>& producers,
         const nlohmann::ordered_json& settings);

// Factual images and one row per arm, for the first trials of the experiment.
PictureBlock side_by_side(const Evaluation& evaluation, const std::vector<Arm>& arms, int64_t count);
// The trials with the smallest, median and largest `metric` of an arm: factual, counterfactual and
// their signed difference.
PictureBlock best_median_worst(const Evaluation& evaluation, const std::vector<Record>& records,
                               const Arm& arm, const std::string& metric, int64_t each);
// Abduction upwards and prediction downwards for one trial, at `frames` levels.
PictureBlock film_strip(const Evaluation& evaluation, const Trial& trial, double scale, int frames);

// Trials the oracle does not see as the target, or whose abduction did not converge.
void list_failures(const std::vector<Record>& records, const std::string& arm, ReportInput& input);

// summary.json, summary.csv, and with --report the page.
void write_results(const Evaluation& evaluation, const ReportInput& input);

}  // namespace diffscm::apps
