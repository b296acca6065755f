// diffscm sample: new images from noise, optionally guided to a class.
#include "diffusion/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <numeric>

#include "apps/inference.h"
#include "apps/output_folder.h"
#include "diffusion/batch.h"
#include "diffusion/known_states.h"
#include "engine/io/json.h"
#include "engine/io/npz.h"

namespace diffscm::apps {
namespace {

using Json = nlohmann::ordered_json;

struct Flags {
  std::string model, classifier, out, sampler = "ddim", threshold = "none", variance, wanted;
  SamplerOptions options;
  double scale = 1;
  int steps = 0;
  int64_t count = 16, batch = 32;
  template <class V>
  void visit(V&& flag) {
    flag("model", &model, "diffusion model: a file, a run's folder or a shipped model's name",
         {.required = true, .model = true});
    flag("classifier", &classifier, "guides to --class; without one a conditional model is told it",
         {.otherwise = "none", .model = true});
    flag("class", &wanted, "the class to guide to, or all",
         {.value = "CLASS|all", .otherwise = "unguided"});
    flag("scale", &scale, "guidance scale s", {.least = 0});
    flag("sampler", &sampler, "how to walk", {.choices = {"ddim", "ddpm", "ode", "sde"}});
    flag("eta", &options.eta, "ddim: 0 deterministic to 1 ancestral", {.least = 0, .most = 1});
    flag("variance", &variance,
         "ddpm: of the noise added: the posterior's, the forward step's, or the network's own",
         {.choices = {"small", "large", "learnt"},
          .otherwise = "learnt where the network has learnt it, else small"});
    flag("threshold", &threshold, "of the predicted clean image",
         {.choices = {"none", "clip", "dynamic"}});
    flag("steps", &steps, "levels of the chain",
         {.least = 1, .most = 1e6, .otherwise = "the model's"});
    flag("count", &count, "images", {.least = 1, .most = 1e6});
    flag("batch", &batch, "images at a time", {.least = 1, .most = 1e6});
    flag("out", &out, "output folder", {.required = true, .value = "DIR"});
  }
};

// One class: every image; "all": 0, 1, .., classes-1, over and over.
std::vector<int64_t> wanted_classes(const std::string& text, int64_t count,
                                    const data::Attribute& category) {
  std::vector<int64_t> targets(static_cast<size_t>(count));
  if (text == "all") {
    for (size_t i = 0; i < targets.size(); ++i)
      targets[i] = static_cast<int64_t>(i % category.states.size());
    return targets;
  }
  try {
    std::fill(targets.begin(), targets.end(), static_cast<int64_t>(category.parse(text)));
  } catch (const Error& e) {
    fail("--class {}: {}, or all", text, e.what());
  }
  return targets;
}

void run(Common& common, Flags flags) {
  flags.options.kind = parse_sampler_kind(flags.sampler);
  flags.options.threshold.kind = parse_threshold(flags.threshold);
  flags.options.seed = common.seed;
  const bool chosen = !flags.variance.empty();
  flags.options.variance = parse_ddpm_variance(chosen ? flags.variance : "small");
  flags.options.learnt = [] { return Tensor(); };  // of the model, once it is there
  as_usage([&] { validate(flags.options); });
  if (!flags.classifier.empty() && flags.wanted.empty())
    throw UsageError("--classifier guides to a class: give --class too");
  const DiffusionModel model(flags.model, common.target(), flags.steps, common.layers());
  if (!chosen && flags.options.kind == SamplerKind::ddpm && model.learns_variance())
    flags.options.variance = DdpmVariance::learnt;
  if (flags.options.variance == DdpmVariance::learnt)
    flags.options.learnt = model.learnt_variance();
  std::optional<AntiCausalPredictor> predictor;
  std::vector<int64_t> targets;
  int64_t classes = 0;
  std::string told;  // which condition of the model is the class
  if (!flags.classifier.empty()) {
    predictor.emplace(flags.classifier, model);
    predictor->require_classifier("--classifier");
    classes = predictor->classes();
  } else if (!flags.wanted.empty()) {
    const auto category = std::find_if(model.conditions().begin(), model.conditions().end(),
                                       [](const Condition& c) { return c.is_category(); });
    if (category == model.conditions().end())
      throw UsageError(fmt::format("--class {}: {} cannot be told a class: give a --classifier",
                                   flags.wanted, model.info().path));
    classes = category->classes;
    told = category->name;
  }
  if (!flags.wanted.empty())
    targets = as_usage([&] {
      const ModelInfo& names = predictor ? predictor->info() : model.info();
      return wanted_classes(flags.wanted, flags.count, known_category(names, told, classes));
    });
  const OutputFolder folder(flags.out, "sample");
  if (predictor) warn_of_other_data(common, model.info(), predictor->info());

  const auto start = std::chrono::steady_clock::now();
  const int64_t batches = (flags.count + flags.batch - 1) / flags.batch;
  std::vector<Tensor> images;
  for (int64_t b = 0; b < batches; ++b) {
    const int64_t begin = b * flags.batch, n = std::min(flags.batch, flags.count - begin);
    std::vector<int64_t> index(static_cast<size_t>(n));
    std::iota(index.begin(), index.end(), begin);
    Guidance guidance;
    if (!targets.empty()) {
      const std::vector<int64_t> wanted(targets.begin() + begin, targets.begin() + begin + n);
      if (predictor) {
        guidance.gradients.push_back({predictor->gradient(wanted), flags.scale});
      } else {
        std::vector<data::Assignment> parents;
        for (const int64_t c : wanted) parents.push_back({{told, static_cast<double>(c)}});
        guidance.conditions.push_back({model.epsilon(parents), flags.scale});
      }
    }
    const Tensor noise = initial_noise(model.image_shape(n), index, common.seed, model.target());
    images.push_back(
        clamp_to_image(sample(model.epsilon(), guidance, model.chain(), 0, noise, flags.options,
                              index, level_progress(common, "sample", b, batches))));
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  const Tensor all = concatenate(images);
  const std::filesystem::path out = flags.out;
  io::NpyArrays arrays{{"samples", io::NpyArray::from(all)}};
  Json summary = {{"images", flags.count}, {"seconds", seconds}};
  const std::vector<double> size = l1_grey_levels(all, Tensor::zeros(all.shape()));
  const int64_t failed = std::ranges::count_if(size, [](double v) { return !std::isfinite(v); });
  if (failed > 0) {
    summary["failed"] = failed;
    warn_of_failed(common, failed, flags.count, "");
  }
  if (!targets.empty()) arrays.emplace("target", io::NpyArray::from(targets, {flags.count}));
  if (predictor) {
    int64_t hits = 0;
    const auto p = predictor->predict(all);
    for (size_t i = 0; i < p.size(); ++i)
      hits += std::isfinite(p[i][0]) && argmax(p[i]) == targets[i];
    summary["on_target_rate"] = static_cast<double>(hits) / static_cast<double>(flags.count);
  }
  io::write_npz(out / "samples.npz", arrays);
  const int64_t side =
      flags.wanted == "all" ? classes : static_cast<int64_t>(std::ceil(std::sqrt(flags.count)));
  std::vector<io::GridRow> rows;
  for (int64_t i = 0; i < std::min(flags.count, side * 20); ++i) {
    if (i % side == 0) rows.emplace_back();
    rows.back().images.push_back(io::grid_image(all, i));
  }
  io::write_grid(
      out / "grid.png", rows,
      {.title = fmt::format("{} samples, {} steps", flags.sampler, model.chain().levels()),
       .columns = {}});
  std::vector<const ModelInfo*> models{&model.info()};
  if (predictor) models.push_back(&predictor->info());
  flags.steps = model.chain().levels();
  write_run(out, common, echo(flags), models, summary);
  if (common.json) {
    fmt::print("{}\n", io::dump(summary));
  } else if (!common.quiet) {
    if (predictor)
      fmt::print("{:.1f}% are classified as asked; ",
                 100 * summary["on_target_rate"].get<double>());
    fmt::print("{} images in {:.1f} s; picture: {}\n", flags.count, seconds,
               (out / "grid.png").string());
  }
}

}  // namespace

void add_sample(CLI::App& app, Common& common) {
  add_command<Flags>(app, "sample", "Draw new images, optionally guided to a class", common, run);
}

}  // namespace diffscm::apps
