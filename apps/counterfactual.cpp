// diffscm counterfactual: abduction, action, prediction for images of a data set.
#include "causal/counterfactual.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <optional>

#include "apps/counterfactual_output.h"
#include "apps/counterfactual_report.h"
#include "apps/inference.h"
#include "apps/notes.h"
#include "apps/output_folder.h"
#include "apps/question.h"
#include "diffusion/batch.h"
#include "diffusion/known_states.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "models/probabilities.h"

namespace diffscm::apps {
namespace {

using Json = nlohmann::ordered_json;

struct Flags {
  std::string model, judge, out, intervention, encode, guidance, threshold = "none";
  std::vector<std::string> classifiers;
  DataFlags data;
  AbductionFlags abduction;
  CounterfactualOptions options;
  double classifier_scale = 1;
  int64_t batch = 32;
  bool report = false;
  template <class V>
  void visit(V&& flag) {
    flag("model", &model, "diffusion model: a file, a run's folder or a shipped model's name",
         {.required = true, .model = true});
    flag("classifier", &classifiers,
         "classifier, or of a number regressor, that guides; one for each parent that do() sets",
         {.otherwise = "none", .model = true});
    flag("judge", &judge, "oracle or classifier that says what the answers show",
         {.otherwise = "the oracle beside the model, else --classifier", .model = true});
    data.visit(flag);
    flag("do", &intervention, "the intervention: digit=5, or several: digit=5,thickness=3",
         {.required = true, .value = "PARENT=VALUE"});
    flag("guidance", &guidance, "the classifiers, implicit (the model told the parents), or both",
         {.choices = {"classifier", "implicit", "both"},
          .otherwise = "implicit if the model can be told the parents"});
    flag("encode", &encode, "abduction is told no parent, or the factual ones",
         {.choices = {"unconditional", "factual"},
          .otherwise = "factual if the model guides itself and the data know its parents"});
    flag("scale", &options.scales, "guidance scale s, or several: 0.1,0.7,2", {.least = 0});
    flag("classifier-scale", &classifier_scale,
         "of the classifiers, beside the model told the parents: s times this", {.least = 0});
    abduction.visit(flag);
    abduction.visit_threshold(flag);
    flag("threshold", &threshold, "of the prediction's clean image",
         {.choices = {"none", "clip", "dynamic"}});
    flag("batch", &batch, "images at a time", {.least = 1, .most = 1e6});
    flag("report", &report, "also write OUT/report.html, one page to look at");
    flag("out", &out, "output folder", {.required = true, .value = "DIR"});
  }
};

// Of the abductions of an image the worst counts; not a number is worse than any.
void add_abduction(const Abduction& u, const std::vector<double>& roundtrip,
                   std::span<Outcome> outcomes) {
  const auto worse = [](double a, double b) { return b > a || std::isnan(b) ? b : a; };
  for (size_t i = 0; i < outcomes.size(); ++i) {
    Outcome& o = outcomes[i];
    o.roundtrip_l1 = worse(o.roundtrip_l1, roundtrip[i]);
    o.evaluations += u.evaluations[i];
    if (u.residual.empty()) continue;
    o.residual = worse(o.residual.value_or(0), u.residual[i]);
    o.converged = o.converged.value_or(true) && u.converged[i] != 0;
  }
}

void run_batch(Common& common, const Flags& flags, const Query& query, int64_t begin,
               std::vector<Outcome>& outcomes, Images& images,
               std::optional<CounterfactualReport>& report) {
  const data::Dataset& dataset = query.selection.dataset;
  const int64_t total = static_cast<int64_t>(query.selection.index.size()),
                end = std::min(total, begin + flags.batch);
  const std::vector<int64_t> index(query.selection.index.begin() + begin,
                                   query.selection.index.begin() + end);
  const Tensor factual = dataset.images(index).to(query.model.target());
  Intervention intervention{.targets = std::vector<Assignment>(index.size(), query.target)};
  for (const int64_t i : index) intervention.factual.push_back(dataset.factual(i));
  const Action action = act(query.networks, intervention, query.encoding);
  const int64_t batches = (total + flags.batch - 1) / flags.batch;
  CounterfactualOptions options = flags.options;
  options.abduction.seed = common.seed;
  options.abduction.index = index;
  const Counterfactual result =
      counterfactual(action, query.model.chain(), factual, options,
                     level_progress(common, "counterfactual", begin / flags.batch, batches),
                     report ? report->observer(begin) : PassObserver{});

  for (const int64_t i : index) {
    outcomes.push_back({.index = i, .label = -1});
    if (!dataset.labels.empty()) outcomes.back().label = dataset.labels[static_cast<size_t>(i)];
  }
  for (size_t a = 0; a < result.abduction.size(); ++a)
    add_abduction(result.abduction[a], l1_grey_levels(result.reconstruction[a], factual),
                  std::span(outcomes).subspan(static_cast<size_t>(begin)));
  const int64_t target = query.target_class();
  for (size_t s = 0; s < result.counterfactual.size(); ++s) {
    const Tensor image = clamp_to_image(result.counterfactual[s]);
    const std::vector<double> l1 = l1_grey_levels(image, factual);
    ClassProbabilities p;
    if (query.judge) p = query.judge->probabilities(image);
    std::map<std::string, std::vector<double>> read;
    for (const auto& [parent, guide] : query.guides)
      if (!guide->is_classifier()) read[parent] = guide->values(image);
    for (size_t i = 0; i < index.size(); ++i) {
      Outcome::AtScale at{l1[i], nullptr, nullptr};
      if (query.judge) {
        const bool finite = std::isfinite(l1[i]);
        if (finite) at.predicted = argmax(p[i]);
        if (finite && target >= 0) at.p_target = p[i][static_cast<size_t>(target)];
      }
      for (const auto& [parent, values] : read) at.read[parent] = values[i];
      outcomes[static_cast<size_t>(begin) + i].at_scale.push_back(std::move(at));
    }
    images.counterfactual[s].push_back(image);
  }
  images.factual.push_back(factual);
  images.latent.resize(result.abduction.size());
  images.reconstruction.resize(result.abduction.size());
  for (size_t a = 0; a < result.abduction.size(); ++a) {
    images.latent[a].push_back(result.abduction[a].latent);
    images.reconstruction[a].push_back(clamp_to_image(result.reconstruction[a]));
  }
  if (report) report->add(query, images, std::span(outcomes).subspan(begin));
}

// Factual where prediction needs nothing but the model told the parents, and those of every image
// are known.
Encoding default_encoding(GuidanceKind guidance, const DiffusionModel& model,
                          const Selection& selection) {
  const bool all = std::ranges::all_of(selection.index, [&](int64_t i) {
    return model.first_unknown(selection.dataset.factual(i)).empty();
  });
  return guidance == GuidanceKind::implicit && all ? Encoding::factual : Encoding::unconditional;
}

// Of several classifiers that guide, one whose parent do() sets; or none.
const AntiCausalPredictor* classifier_of(
    const Assignment& target, const std::map<std::string, const AntiCausalPredictor*>& guides) {
  const AntiCausalPredictor* found = nullptr;
  for (const auto& [parent, guide] : guides)
    if (guide->is_classifier() && (found == nullptr || target.contains(parent))) found = guide;
  return found;
}

// Says so when do() sets a number far from all that a network has seen.
void warn_of_the_unseen(Common& common, const Query& query) {
  constexpr double kFar = 4;  // standard deviations
  std::vector<Condition> known = query.model.conditions();
  for (const auto& [parent, guide] : query.guides)
    if (!guide->is_classifier()) known.push_back(guide->number());
  for (const auto& [name, value] : query.target) {
    const auto far = std::ranges::find_if(known, [&](const Condition& c) {
      return c.name == name && !c.is_category() && std::abs(value - c.mean) > kFar * c.deviation;
    });
    if (far != known.end())
      common.console.say(fmt::format(
          "warning: {} = {:g} is far from the images that were seen in training: {:.3g} on "
          "average, deviation {:.2g}",
          name, value, far->mean, far->deviation));
  }
}

void run(Common& common, Flags flags) {
  flags.options.abduction = flags.abduction.options;
  flags.options.abduction.threshold.kind = parse_threshold(flags.abduction.threshold);
  flags.options.threshold.kind = parse_threshold(flags.threshold);
  const DiffusionModel model(flags.model, common.target(), flags.abduction.steps, common.layers());
  const GuidanceKind guidance =
      flags.guidance.empty() ? default_guidance(model) : parse_guidance_kind(flags.guidance);
  flags.guidance = name_of(guidance);
  std::vector<AntiCausalPredictor> predictors;
  for (const std::string& path : flags.classifiers) predictors.emplace_back(path, model);
  Selection selection = select(flags.data, model);
  agree_on_states(selection.dataset, model, predictors);
  const auto attributes = nameable(selection.dataset, model, predictors);
  const auto guides = as_usage([&] { return by_parent(predictors, attributes); });
  const Assignment target =
      as_usage([&] { return parse_intervention(flags.intervention, attributes); });
  const std::optional<Judge> judge = find_judge(flags.judge, model, classifier_of(target, guides));
  flags.abduction.steps = model.chain().levels();
  flags.options.abduction.levels =
      as_usage([&] { return model.chain().levels_of_fraction(flags.abduction.fraction); });
  Query query{model, guides, judge, std::move(selection), target, {}, {}, {}, attributes};
  query.encoding = flags.encode.empty() ? default_encoding(guidance, model, query.selection)
                                        : parse_encoding(flags.encode);
  flags.encode = name_of(query.encoding);
  flags.options.abduction.method = flags.abduction.resolve(query.encoding);
  as_usage([&] { validate(flags.options); });
  as_usage([&] {
    const data::Attribute* judged = find_category(judge ? judge->attribute : "", attributes);
    if (judged != nullptr) query.label = judged->name;
    if (judge && query.target_class() >= 0)
      require_same_states(judge->info,
                          known_category(judge->info, judge->attribute, judge->classes), *judged);
    require(!guides.empty() || guidance == GuidanceKind::implicit, "--classifier is needed: {}",
            !model.conditions().empty()
                ? "--guidance " + flags.guidance + " asks one"
                : model.info().path + " cannot be told the parents, so a classifier must guide");
    query.networks = guiding_networks(guidance, model, guides);
    query.networks.predictor_scale = flags.classifier_scale;
    act(query.networks,
        {{query.target}, {query.selection.dataset.factual(query.selection.index[0])}},
        query.encoding);
  });
  const OutputFolder folder(flags.out, "counterfactual");
  for (const AntiCausalPredictor& p : predictors)
    warn_of_other_data(common, model.info(), p.info());
  if (judge) warn_of_other_data(common, model.info(), judge->info);
  warn_of_the_unseen(common, query);
  say_notes(common, query.selection.dataset);

  const auto start = std::chrono::steady_clock::now();
  std::vector<Outcome> outcomes;
  Images images;
  const std::vector<double>& scales = flags.options.scales;
  images.counterfactual.resize(scales.size());
  std::optional<CounterfactualReport> report;
  if (flags.report)
    report.emplace(scales, model.chain().checked_levels(flags.options.abduction.levels));
  const auto total = static_cast<int64_t>(query.selection.index.size());
  for (int64_t begin = 0; begin < total; begin += flags.batch)
    run_batch(common, flags, query, begin, outcomes, images, report);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  const Json summary = summarise(scales, query, outcomes, seconds);
  for (const Json& line : summary["scales"])
    if (line.contains("failed"))
      warn_of_failed(common, line["failed"], total,
                     fmt::format(" at s = {}", line["scale"].get<double>()));
  const std::filesystem::path out = flags.out;
  folder.clear({"report.html"});  // of earlier answers, which a run that was stopped leaves whole
  write_images(out, fmt::format("do({}) with {} steps", flags.intervention, flags.abduction.steps),
               scales, query, images, outcomes);
  write_jsonl(out / "results.jsonl", result_lines(scales, query, outcomes));
  std::vector<const ModelInfo*> models{&model.info()};
  for (const AntiCausalPredictor& p : predictors) models.push_back(&p.info());
  if (judge && std::ranges::find(models, judge->info.path, &ModelInfo::path) == models.end())
    models.push_back(&judge->info);
  Json options = echo(flags);
  options["levels"] = flags.options.abduction.levels;
  write_run(flags.out, common, options, models, summary);
  if (report) report->write(flags.out, query, options, models);
  if (common.json) {
    fmt::print("{}\n", io::dump(summary));
  } else if (!common.quiet) {
    print_table(out, query, flags.options.abduction.method, summary);
  }
}

}  // namespace

void add_counterfactual(CLI::App& app, Common& common) {
  add_command<Flags>(app, "counterfactual",
                     "What would these images have been under do(parent=value)?", common, run);
}

}  // namespace diffscm::apps
