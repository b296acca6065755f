// diffscm sweep: the guidance scale s that changes enough and no more, by Counterfactual Latent
// Divergence (Sanchez & Tsaftaris 2022, section 5).
#include <fmt/format.h>

#include "apps/config.h"
#include "apps/pictures.h"

namespace diffscm::apps {
namespace {

struct Flags {
  EvaluationFlags evaluation;
  std::string guidance, encode = "unconditional";
  std::vector<double> scales{0, 0.2, 0.4, 0.6, 0.7, 0.8, 1, 1.5, 2, 3};
  template <class V>
  void visit(V&& flag) {
    evaluation.visit(flag);
    flag("guidance", &guidance, "the classifier, implicit (the model told the parents), or both",
         {.choices = {"classifier", "implicit", "both"},
          .otherwise = "implicit if the model can be told the parents"});
    flag("encode", &encode, "abduction is told no parent, or the factual ones",
         {.choices = {"unconditional", "factual"}});
    flag("scales", &scales, "guidance scales, separated by commas", {.least = 0});
  }
};

// What the curve says, in sentences.
std::vector<std::string> notes(const std::vector<ArmSummary>& summaries) {
  std::vector<std::string> lines;
  const int best = best_arm(summaries, "cld");
  if (best < 0) return lines;
  const auto& at = [&](size_t i, const char* name) {
    const Statistic* found = summaries[i].find(name);
    return found == nullptr ? std::nan("") : found->mean;
  };
  const auto b = static_cast<size_t>(best);
  lines.push_back(
      fmt::format("The smallest CLD, {:.3f}, is at s = {:g}: the oracle sees the target in {:.1f}% "
                  "of the images, "
                  "L1 to the factual is {:.1f} grey levels.",
                  at(b, "cld"), summaries[b].arm.options["scale"].get<double>(),
                  100 * at(b, "oracle_flip"), at(b, "l1")));
  if (b == 0 || b + 1 == summaries.size())
    lines.push_back("The minimum lies at the end of the range: extend --scales beyond it.");
  int minima = 0;
  for (size_t i = 1; i + 1 < summaries.size(); ++i)
    minima += at(i, "cld") < at(i - 1, "cld") && at(i, "cld") < at(i + 1, "cld");
  if (minima > 1)
    lines.push_back(
        fmt::format("The curve has {} interior minima: with more images the spurious "
                    "ones should vanish.",
                    minima));
  return lines;
}

void run(Common& common, Flags flags) {
  EvaluationFlags& e = flags.evaluation;
  e.quickly("--images", e.images, int64_t{20});
  e.quickly("--abduction", e.abduction.method, std::string("ddim"));
  std::sort(flags.scales.begin(), flags.scales.end());
  if (std::adjacent_find(flags.scales.begin(), flags.scales.end()) != flags.scales.end())
    throw UsageError("--scales names a scale twice");
  Evaluation evaluation(common, flags.evaluation);
  as_usage([&] {
    validate(CounterfactualOptions{
        .abduction = evaluation.abduction(), .scales = flags.scales, .threshold = {}});
  });
  DiffScmOptions method = evaluation.diff_scm_options(flags.scales);
  method.guidance = flags.guidance.empty() ? default_guidance(evaluation.model())
                                           : parse_guidance_kind(flags.guidance);
  method.encoding = parse_encoding(flags.encode);
  const std::vector<Producer> producers{evaluation.diff_scm_method(method)};
  if (!evaluation.run(producers, {{"command", "sweep"},
                                  {"guidance", name_of(method.guidance)},
                                  {"encode", name_of(method.encoding)},
                                  {"scales", flags.scales}}))
    return;

  ReportInput input = evaluation.report("How strong should the intervention be?");
  input.introduction =
      "Diff-SCM counterfactuals of the same images at several guidance scales s. Too small an s "
      "leaves the class as it was, too large a one leaves the image behind; Counterfactual Latent "
      "Divergence is smallest in between.";
  input.facts.emplace_back("guidance", fmt::format("{}, encoding {}", name_of(method.guidance),
                                                   name_of(method.encoding)));
  input.summaries = evaluation.summaries(producers);
  input.swept = true;
  input.notes = notes(input.summaries);
  const int best = std::max(0, best_arm(input.summaries, "cld"));
  if (flags.evaluation.report) {
    const Arm& arm = input.summaries[static_cast<size_t>(best)].arm;
    input.pictures.push_back(side_by_side(evaluation, input.summaries, 12));
    input.pictures.push_back(best_median_worst(evaluation, arm, "cld", 4));
    method.scales = {arm.options["scale"]};
    input.pictures.push_back(film_strip(evaluation, method, 2, 10));
    list_failures(evaluation, arm, input);
  }
  evaluation.write(input);
}

}  // namespace

void add_sweep(CLI::App& app, Common& common) {
  auto flags = std::make_shared<Flags>();
  flags->evaluation.repeats = 1;
  flags->evaluation.cycled_images = 0;
  flags->evaluation.quick_help =
      "small defaults, 20 images by plain DDIM abduction: minutes instead of an hour";
  CLI::App& command = add_subcommand(
      app, "sweep", "Metrics against the guidance scale; picks s by the smallest CLD",
      [&common, flags] { run(common, *flags); });
  flags->evaluation.command = &command;
  flags->visit(FlagDeclarer(command));
}

}  // namespace diffscm::apps
