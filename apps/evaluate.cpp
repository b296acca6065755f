// diffscm evaluate: several ways to make counterfactuals, on the same images, by the same metrics.
#include <fmt/format.h>

#include <algorithm>

#include "apps/config.h"
#include "apps/pictures.h"
#include "models/mlp_ensemble.h"

namespace diffscm::apps {
namespace {

const std::vector<std::string> kMethods{"diff-scm",  "diff-scm-ddim", "guided-sample",  "sdedit",
                                        "prototype", "greedy",        "training-image", "factual"};

struct Flags {
  EvaluationFlags evaluation;
  std::vector<std::string> methods = kMethods;
  std::string ensemble;
  double scale = 1, sdedit_fraction = 0.5;
  int prototype_iterations = 1000;
};

// Producers, and what they refer to.
class Methods {
 public:
  Methods(Common& common, const Flags& flags, const Evaluation& evaluation) {
    for (const std::string& name : flags.methods)
      producers_.push_back(make(name, common, flags, evaluation));
  }
  const std::vector<Producer>& producers() const { return producers_; }

 private:
  Producer make(const std::string& name, Common& common, const Flags& flags, const Evaluation& e) {
    DiffScmOptions scm{.abduction = e.abduction(),
                       .scales = {flags.scale},
                       .cycled_images = flags.evaluation.cycled_images,
                       .images_per_repeat = flags.evaluation.images};
    if (name == "diff-scm") return diff_scm(e.model(), e.guide(), scm, e.progress());
    if (name == "diff-scm-ddim") {
      scm.name = name;
      scm.title = "Diff-SCM, plain DDIM abduction";
      scm.abduction.method = AbductionMethod::ddim;
      return diff_scm(e.model(), e.guide(), scm, e.progress());
    }
    if (name == "guided-sample")
      return guided_sampling(e.model(), e.guide(), flags.scale, common.seed, e.progress());
    if (name == "sdedit")
      return sdedit(e.model(), e.guide(), flags.scale, flags.sdedit_fraction, common.seed,
                    e.progress());
    if (name == "factual") return factual_itself();
    if (name == "training-image") return training_image(e.train(), common.seed);
    load_ensemble(flags, e);
    const auto logits = [this](const Variable& x) { return ensemble_->model.mean_logits(x); };
    const Target target = e.model().target();
    if (name == "greedy") return greedy_pixels(logits, {}, target, e.progress());
    const Autoencoder& all = e.evaluator().autoencoders().of_all();
    const auto encode = [&all](const Variable& u) { return all.encode(u); };
    baselines::PrototypeNetworks networks{
        logits, encode, [&all](const Variable& z) { return all.decode(z); },
        baselines::class_prototypes(encode, e.train(), 500, target)};
    return prototype_guided(std::move(networks), {.iterations = flags.prototype_iterations}, target,
                            e.progress());
  }

  void load_ensemble(const Flags& flags, const Evaluation& e) {
    if (ensemble_) return;
    ensemble_ = std::make_unique<LoadedModel<MlpEnsemble>>(
        load_model<MlpEnsemble>(e.networks().find(flags.ensemble, "ensemble"), e.model().target()));
    const Shape s = e.model().image_shape(1);
    const MlpEnsembleConfig& c = ensemble_->model.config();
    require(c.image_size == s[1] && c.in_channels == s[3] && c.classes == e.train().classes,
            "{} reads {}x{}x{} images of {} classes, {} has {}x{}x{} of {}", ensemble_->info.path,
            c.image_size, c.image_size, c.in_channels, c.classes, e.train().name, s[1], s[2], s[3],
            e.train().classes);
  }

  std::unique_ptr<LoadedModel<MlpEnsemble>> ensemble_;
  std::vector<Producer> producers_;
};

void run(Common& common, Flags flags) {
  EvaluationFlags& e = flags.evaluation;
  e.quickly("--repeats", e.repeats, 2);
  e.quickly("--images", e.images, int64_t{10});
  e.quickly("--cycled", e.cycled_images, int64_t{2});
  e.quickly("--prototype-iterations", flags.prototype_iterations, 200);
  e.quickly("--max-iterations", e.abduction.options.max_iterations, 10);
  Evaluation evaluation(common, flags.evaluation);
  as_usage([&] {
    validate(SamplerOptions{.guidance_scale = flags.scale});
    evaluation.model().chain().levels_of_fraction(flags.sdedit_fraction);
  });
  const Methods methods(common, flags, evaluation);
  if (!evaluation.run(methods.producers(), {{"command", "evaluate"},
                                            {"scale", flags.scale},
                                            {"sdedit_fraction", flags.sdedit_fraction},
                                            {"prototype_iterations", flags.prototype_iterations}}))
    return;

  ReportInput input = evaluation.report("Is it a good counterfactual?");
  input.introduction = fmt::format(
      "Methods under one protocol: {} repeats of {} test images, each with a plausible target "
      "class "
      "drawn at random, judged by networks that had no part in making the images. Values: mean "
      "over "
      "all images, and the standard deviation of the repeats' means.",
      flags.evaluation.repeats, flags.evaluation.images);
  input.summaries = evaluation.summaries(methods.producers());
  input.controls = {"factual", "training-image"};
  if (flags.evaluation.report) {
    const Arm& first = input.summaries.front().arm;
    std::vector<ArmSummary> shown = input.summaries;
    std::erase_if(shown, [](const ArmSummary& s) { return s.arm.name == "factual"; });
    input.pictures.push_back(side_by_side(evaluation, shown, 12));
    input.pictures.push_back(best_median_worst(evaluation, first, "cld", 4));
    if (first.name.starts_with("diff-scm"))
      input.pictures.push_back(film_strip(
          evaluation,
          {evaluation.trials().begin(),
           evaluation.trials().begin() + std::min<size_t>(2, evaluation.trials().size())},
          flags.scale, 10));
    list_failures(evaluation, first, input);
  }
  evaluation.write(input);
}

}  // namespace

void add_evaluate(CLI::App& app, Common& common) {
  CLI::App* command =
      app.add_subcommand("evaluate", "Compare methods on the same images by the same metrics");
  auto flags = std::make_shared<Flags>();
  add_evaluation_flags(command, flags->evaluation,
                       "small defaults, 2 repeats of 10 images: a few minutes");
  command->add_option("--methods", flags->methods, "which, separated by commas")
      ->delimiter(',')
      ->check(CLI::IsMember(kMethods))
      ->capture_default_str();
  command->add_option("--scale", flags->scale, "guidance scale s, as `sweep` picks it")
      ->capture_default_str();
  command->add_option("--sdedit-fraction", flags->sdedit_fraction, "how far up SDEdit goes, 0 to 1")
      ->capture_default_str();
  command->add_option("--prototype-iterations", flags->prototype_iterations, "FISTA steps per c")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--ensemble", flags->ensemble,
                      "what prototype and greedy explain (default: found in --networks)");
  command->callback([&common, flags] { run(common, *flags); });
}

}  // namespace diffscm::apps
