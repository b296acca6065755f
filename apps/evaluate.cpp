// diffscm evaluate: several ways to make counterfactuals, on the same images, by the same metrics.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "apps/config.h"
#include "apps/pictures.h"
#include "evaluation/sample_quality.h"
#include "models/mlp_ensemble.h"

namespace diffscm::apps {
namespace {

const std::vector<std::string> kMethods{
    "diff-scm",      "diff-scm-implicit", "diff-scm-factual", "diff-scm-ddpm", "diff-scm-guided",
    "diff-scm-ddim", "guided-sample",     "sdedit",           "prototype",     "greedy",
    "bound",         "training-image",    "factual"};

struct Flags {
  EvaluationFlags evaluation;
  std::vector<std::string> methods;  // empty: all that the networks and the data allow
  std::string ensemble, bound;
  double scale = CounterfactualOptions::kScale, sdedit_fraction = 0.5;
  int prototype_iterations = 1000;
  template <class V>
  void visit(V&& flag) {
    evaluation.visit(flag);
    flag("methods", &methods, "which, separated by commas",
         {.choices = kMethods,
          .otherwise = "all that the networks and the data allow",
          .commas = true});
    flag("scale", &scale, "guidance scale s, as `sweep` picks it", {.least = 0});
    flag("sdedit-fraction", &sdedit_fraction, "how far up SDEdit goes",
         {.most = 1, .positive = true});
    flag("prototype-iterations", &prototype_iterations, "FISTA steps per c",
         {.least = 1, .most = 1e6});
    flag("samples", &evaluation.samples, "judge so many samples too, against the test set",
         {.least = 2, .most = 1 << 30, .otherwise = "none"});
    flag("ensemble", &ensemble, "what prototype and greedy explain",
         {.otherwise = "found in --networks", .model = true});
    flag("bound", &bound, "the network that gives the bound",
         {.otherwise = "found in --networks", .model = true});
  }
};

// Diff-SCM's arms, whose names begin with diff-scm. Without a method of abduction of their own they
// take --abduction.
struct DiffScmArm {
  std::string name, title;
  GuidanceKind guidance = GuidanceKind::classifier;
  Encoding encoding = Encoding::unconditional;
  std::optional<AbductionMethod> abduction{};
};
const std::vector<DiffScmArm> kDiffScmArms{
    {"diff-scm", "Diff-SCM"},
    {"diff-scm-implicit", "Diff-SCM, implicit guidance", GuidanceKind::implicit},
    {"diff-scm-factual", "Diff-SCM, implicit guidance, factual encoding", GuidanceKind::implicit,
     Encoding::factual},
    {"diff-scm-ddpm", "Diff-SCM, implicit guidance, factual encoding, DDPM noise",
     GuidanceKind::implicit, Encoding::factual, AbductionMethod::ddpm},
    {"diff-scm-guided", "Diff-SCM, classifier guidance of both passes, DDPM noise",
     GuidanceKind::classifier, Encoding::factual, AbductionMethod::ddpm},
    {"diff-scm-ddim", "Diff-SCM, plain DDIM abduction", GuidanceKind::classifier,
     Encoding::unconditional, AbductionMethod::ddim}};

DiffScmOptions diff_scm_options(const std::string& name, DiffScmOptions scm) {
  const auto arm = std::ranges::find(kDiffScmArms, name, &DiffScmArm::name);
  scm.name = name;
  scm.title = arm->title;
  scm.guidance = arm->guidance;
  scm.encoding = arm->encoding;
  if (arm->abduction) scm.abduction.method = *arm->abduction;
  return scm;
}

std::vector<std::string> default_methods(Common& common, const Flags& flags, const Evaluation& e) {
  std::vector<std::string> methods = kMethods;
  if (!knows_labels(e.model(), e.test()))
    for (const DiffScmArm& arm : kDiffScmArms)
      if (arm.guidance == GuidanceKind::implicit) std::erase(methods, arm.name);
  if (!e.test().world || (flags.bound.empty() && e.networks().sole(Bound::kKind).empty()))
    std::erase(methods, "bound");
  if (flags.ensemble.empty() && !e.networks().has(MlpEnsemble::kKind)) {
    common.console.say("note: prototype and greedy explain an ensemble, and there is none");
    std::erase_if(methods, [](const std::string& m) { return m == "prototype" || m == "greedy"; });
  }
  return methods;
}

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
    if (name.starts_with("diff-scm"))
      return e.diff_scm_method(diff_scm_options(name, e.diff_scm_options({flags.scale})));
    if (name == "guided-sample")
      return guided_sampling(e.model(), e.guide(), flags.scale, common.seed, e.progress());
    if (name == "sdedit")
      return sdedit(e.model(), e.guide(), flags.scale, flags.sdedit_fraction, common.seed,
                    e.progress());
    if (name == "factual") return factual_itself();
    if (name == "training-image") return training_image(e.train(), common.seed);
    if (name == "bound") return make_bound(common, flags, e);
    load_ensemble(common, flags, e);
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

  Producer make_bound(Common& common, const Flags& flags, const Evaluation& e) {
    const data::Dataset& data = e.test();
    if (!data.world)
      throw UsageError(fmt::format(
          "--methods bound: {} does not know the true counterfactuals; digits does", data.name));
    const Target target = e.model().target();
    bound_ = std::make_unique<LoadedModel<Bound>>(
        load_model<Bound>(e.networks().find(flags.bound, Bound::kKind), target));
    const UNetConfig& c = bound_->model.config();
    const std::string& label = data.label_attribute().name;
    require(
        c.image_size == data.height && c.in_channels == data.channels && c.conditions.size() == 1 &&
            c.conditions[0].name == label && c.conditions[0].classes == data.classes,
        "{} is not a bound for {}x{}x{} images and the {} classes of '{}' in {}", bound_->info.path,
        data.height, data.width, data.channels, data.classes, label, data.name);
    warn_of_other_data(common, e.model().info(), bound_->info);
    return bound_answer(bound_->model, target);
  }

  void load_ensemble(Common& common, const Flags& flags, const Evaluation& e) {
    if (ensemble_) return;
    ensemble_ = std::make_unique<LoadedModel<MlpEnsemble>>(
        load_model<MlpEnsemble>(e.networks().find(flags.ensemble, "ensemble"), e.model().target()));
    const Shape s = e.model().image_shape(1);
    const MlpEnsembleConfig& c = ensemble_->model.config();
    require(c.image_size == s[1] && c.in_channels == s[3] && c.classes == e.train().classes,
            "{} reads {}x{}x{} images of {} classes, {} has {}x{}x{} of {}", ensemble_->info.path,
            c.image_size, c.image_size, c.in_channels, c.classes, e.train().name, s[1], s[2], s[3],
            e.train().classes);
    warn_of_other_data(common, e.model().info(), ensemble_->info);
  }

  std::unique_ptr<LoadedModel<MlpEnsemble>> ensemble_;
  std::unique_ptr<LoadedModel<Bound>> bound_;
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
  if (e.samples > evaluation.train().size())
    throw UsageError(fmt::format("--samples {}: {} has {} training images to compare with",
                                 e.samples, evaluation.train().name, evaluation.train().size()));
  as_usage([&] {
    validate(CounterfactualOptions{.scales = {flags.scale}});
    evaluation.model().chain().levels_of_fraction(flags.sdedit_fraction);
  });
  if (flags.methods.empty()) flags.methods = default_methods(common, flags, evaluation);
  const Methods methods(common, flags, evaluation);
  if (!evaluation.run(methods.producers(), {{"command", "evaluate"},
                                            {"scale", flags.scale},
                                            {"sdedit_fraction", flags.sdedit_fraction},
                                            {"samples", e.samples},
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
  input.controls = {"factual", "training-image", "bound"};
  input.agreement = evaluation.agreement();
  if (e.samples > 0) {
    const std::vector<SampleSet> sets = evaluation.samples();
    input.samples = sample_quality(evaluation.evaluator(), sets, evaluation.train(),
                                   evaluation.test(), common.seed);
    if (flags.evaluation.report)
      for (const SampleSet& set : sets) input.pictures.push_back(sample_sheet(set, 64, 8));
  }
  if (flags.evaluation.report) {
    const Arm& first = input.summaries.front().arm;
    std::vector<ArmSummary> shown = input.summaries;
    std::erase_if(shown, [](const ArmSummary& s) { return s.arm.name == "factual"; });
    input.pictures.push_back(side_by_side(evaluation, shown, 12));
    input.pictures.push_back(best_median_worst(evaluation, first, "cld", 4));
    if (first.name.starts_with("diff-scm"))
      input.pictures.push_back(film_strip(
          evaluation, diff_scm_options(first.name, evaluation.diff_scm_options({flags.scale})), 2,
          10));
    list_failures(evaluation, first, input);
  }
  evaluation.write(input);
}

}  // namespace

void add_evaluate(CLI::App& app, Common& common) {
  auto flags = std::make_shared<Flags>();
  flags->evaluation.quick_help = "small defaults, 2 repeats of 10 images: a few minutes";
  CLI::App& command =
      add_subcommand(app, "evaluate", "Compare methods on the same images by the same metrics",
                     [&common, flags] { run(common, *flags); });
  flags->evaluation.command = &command;
  flags->visit(FlagDeclarer(command));
}

}  // namespace diffscm::apps
