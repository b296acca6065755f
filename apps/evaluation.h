// What `sweep` and `evaluate` share: networks, flags, and the way from an experiment's folder to
// tables, pictures and a report.
#pragma once

#include <memory>
#include <optional>

#include "apps/inference.h"
#include "apps/networks.h"
#include "apps/output_folder.h"
#include "apps/report/report.h"
#include "evaluation/gradient_agreement.h"
#include "evaluation/methods.h"
#include "evaluation/metrics/evaluator.h"
#include "evaluation/sample_quality.h"
#include "evaluation/summary.h"

namespace diffscm::apps {

struct EvaluationFlags {
  // Models: files or runs' folders. All but `model`: empty means found in `networks`, which when
  // empty is where `model` lies.
  std::string model, networks, classifier, vae, oracle, autoencoders;
  std::string data = "mnist", split = "test", out, shard = "0/1";
  AbductionFlags abduction;
  int repeats = 10;
  int64_t images = 100, batch = 50, cycled_images = 10, samples = 0;
  bool resume = false, report = false, quick = false;
  CLI::App* command = nullptr;  // no flag
  std::string quick_help;       // no flag: what --quick does here

  template <class V>
  void visit(V&& flag) {
    const std::string found = "found in --networks";
    flag("model", &model, "diffusion model: a file, a run's folder or a shipped model's name",
         {.required = true, .model = true});
    flag("networks", &networks,
         "the folder whose files or runs are the other networks, each found by its kind",
         {.value = "DIR", .otherwise = "where --model lies"});
    flag("classifier", &classifier, "the guiding classifier", {.otherwise = found, .model = true});
    flag("vae", &vae, "the VAE of CLD", {.otherwise = found, .model = true});
    flag("oracle", &oracle, "the classifier that judges", {.otherwise = found, .model = true});
    flag("autoencoders", &autoencoders, "those of IM1 and IM2",
         {.otherwise = found, .model = true});
    flag("data", &data, data::kSources, {.value = "mnist|digits|FILE"});
    flag("split", &split, "which part of the data", {.choices = {"train", "test"}});
    flag("images", &images, "different images per repeat", {.least = 1, .most = 1e9});
    flag("repeats", &repeats, "independent draws of images and targets", {.least = 1, .most = 1e6});
    abduction.visit(flag);
    flag("batch", &batch, "images at a time; changes no result", {.least = 1, .most = 1e6});
    flag("cycled", &cycled_images,
         "images per repeat for composition over 10 cycles and reversibility",
         {.least = 0, .most = 1e9});
    flag("shard", &shard, "I/N: this process does every N-th image", {.value = "I/N"});
    flag("quick", &quick, quick_help);
    flag("report", &report, "also write report.html, one self-contained page");
    flag("resume", &resume, "continue the experiment in --out");
    flag("out", &out, "the experiment's folder", {.required = true, .value = "DIR"});
  }

  // With --quick: another default for a flag that was not given.
  template <class T>
  void quickly(const char* flag, T& value, T quick_value) const {
    if (quick && !was_given(*command, flag)) value = quick_value;
  }
};

// Everything loaded once.
class Evaluation {
 public:
  Evaluation(Common& common, const EvaluationFlags& flags);
  Evaluation(const Evaluation&) = delete;

  const EvaluationFlags& flags() const { return flags_; }
  const DiffusionModel& model() const { return *model_; }
  const AntiCausalPredictor& guide() const { return *guide_; }
  const Evaluator& evaluator() const { return *evaluator_; }
  const NetworkFolder& networks() const { return *networks_; }
  const data::Dataset& test() const { return test_; }
  const data::Dataset& train() const { return train_; }
  const std::vector<Trial>& trials() const { return trials_; }
  AbductionOptions abduction() const { return abduction_; }
  Progress progress() const;  // within a batch: stops on Ctrl-C

  // What the flags say of Diff-SCM, at these scales; and the method, its last fields as a command
  // wants them. Throws UsageError when the networks cannot guide or encode so.
  DiffScmOptions diff_scm_options(const std::vector<double>& scales) const;
  Producer diff_scm_method(const DiffScmOptions& options) const;
  // Of the guide's gradient and the model's own, for up to 50 images of the first repeat under
  // do(target). Empty when the model cannot be told the classes.
  std::vector<GradientAgreement> agreement() const;

  // Runs the experiment of this shard under a progress bar, in a folder that is this shard's from
  // now on. `own`: what else changes results. False: other shards have still to finish.
  bool run(const std::vector<Producer>& producers, const nlohmann::ordered_json& own);

  // After a complete run. Summaries have the metrics of sets (Frechet, MMD) too.
  const std::vector<Record>& records() const { return records_; }
  std::vector<ArmSummary> summaries(const std::vector<Producer>& producers) const;
  Tensor factual(const std::vector<Trial>& trials) const;
  Tensor answers(const std::string& arm, const std::vector<Trial>& trials) const;

  // `flags.samples` samples of the model each, by DDIM: "samples", told nothing, and where training
  // images have the parents that the model can be told, "samples-told": told those of as many
  // training images, drawn by the seed, as samples of the causal model are. Kept in OUT/<name>,
  // where a resumed run finds them.
  std::vector<SampleSet> samples() const;

  // Title, settings and columns filled in; then summary.json, summary.csv, the table on stdout and,
  // with --report, the page.
  ReportInput report(const std::string& title) const;
  void write(ReportInput input) const;

 private:
  Tensor samples(const char* name, bool told) const;
  std::vector<Metrics> score(const Tensor& factual, const Tensor& image,
                             std::span<const Trial> trials) const;
  nlohmann::ordered_json settings(const nlohmann::ordered_json& own) const;

  Common& common_;
  EvaluationFlags flags_;
  std::unique_ptr<DiffusionModel> model_;
  std::unique_ptr<NetworkFolder> networks_;
  std::unique_ptr<AntiCausalPredictor> guide_;
  std::unique_ptr<Evaluator> evaluator_;
  data::Dataset test_, train_;
  std::vector<Trial> trials_;
  AbductionOptions abduction_;
  int shard_ = 0, shards_ = 1;
  std::optional<OutputFolder> folder_;
  std::vector<Record> records_;
};

}  // namespace diffscm::apps
