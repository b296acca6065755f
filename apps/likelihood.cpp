// diffscm likelihood: how probable a diffusion model finds images, in bits per dimension.
#include "diffusion/likelihood.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "apps/inference.h"
#include "apps/notes.h"
#include "apps/output_folder.h"
#include "diffusion/known_states.h"

namespace diffscm::apps {
namespace {

using Json = nlohmann::ordered_json;

struct Flags {
  std::string model, told = "nothing", out;
  DataFlags data;
  int steps = 100, draws = 1;
  int64_t batch = 32;
  template <class V>
  void visit(V&& flag) {
    flag("model", &model, "diffusion model: a file, a run's folder or a shipped model's name",
         {.required = true, .model = true});
    data.visit(flag);
    flag("told", &told, "what a conditional model is told: p(image) or p(image | parents)",
         {.choices = {"nothing", "parents"}});
    flag("steps", &steps, "at most so many along the way; the error falls with their square",
         {.least = 2, .most = 1e6});
    flag("draws", &draws, "draws of probe and dequantisation per image, averaged",
         {.least = 1, .most = 1e6});
    flag("batch", &batch, "images at a time", {.least = 1, .most = 1e6});
    flag("out", &out, "output folder", {.required = true, .value = "DIR"});
  }
};

struct MeanAndError {
  double mean = 0, error = 0;  // of the mean: one standard deviation
};
MeanAndError mean_and_error(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (const double v : values) sum += v;
  for (const double v : values) squares += (v - sum / n) * (v - sum / n);
  return {sum / n, n > 1 ? std::sqrt(squares / (n - 1) / n) : std::nan("")};
}

// An unknown parent would not be told, and p(image) be taken for p(image | parents).
void require_parents(const DiffusionModel& model, const Selection& selection) {
  for (const int64_t i : selection.index)
    if (const std::string parent = model.first_unknown(selection.dataset.factual(i));
        !parent.empty())
      throw UsageError(
          fmt::format("--told parents: {} does not say the '{}' of image {}: take --told nothing",
                      selection.dataset.name, parent, i));
}

void run(Common& common, Flags flags) {
  const DiffusionModel model(flags.model, common.target(), /*steps=*/0, common.layers());
  const NoiseSchedule schedule = model.schedule();
  const std::vector<int> timesteps = likelihood_timesteps(schedule, flags.steps);
  if (flags.told == "parents" && !model.is_conditional())
    throw UsageError(fmt::format(
        "--told parents: {} is unconditional: it cannot be told any parent", model.info().path));
  Selection selection = select(flags.data, model);
  if (flags.told == "parents") {
    number_states(selection.dataset, model);
    require_parents(model, selection);
  }
  const OutputFolder folder(flags.out, "likelihood");
  say_notes(common, selection.dataset);

  const auto start = std::chrono::steady_clock::now();
  const int64_t total = std::ssize(selection.index),
                batches = (total + flags.batch - 1) / flags.batch,
                numbers = numel(model.image_shape(1));
  std::vector<double> all;
  std::vector<Json> lines;
  for (int64_t b = 0; b < batches; ++b) {
    const std::vector<int64_t> index(
        selection.index.begin() + b * flags.batch,
        selection.index.begin() + std::min(total, (b + 1) * flags.batch));
    const Tensor images = selection.dataset.images(index);
    std::vector<data::Assignment> parents;
    if (flags.told == "parents")
      for (const int64_t i : index) parents.push_back(selection.dataset.factual(i));
    const DifferentiableEpsilon epsilon = model.differentiable_epsilon(parents);
    const Progress bar = level_progress(common, "likelihood", b, batches);
    std::vector<std::vector<double>> bits(index.size());
    for (int draw = 0; draw < flags.draws; ++draw) {
      const Tensor probe = rademacher_probe(images.shape(), common.seed, draw, index);
      const auto log_p = log_likelihood(
          epsilon, schedule, timesteps,
          dequantise(images, common.seed, draw, index).to(common.target()),
          probe.to(common.target()),
          [&](int done, int levels) { bar(draw * levels + done, flags.draws * levels); });
      for (size_t i = 0; i < index.size(); ++i)
        bits[i].push_back(bits_per_dimension(log_p[i], numbers));
    }
    for (size_t i = 0; i < index.size(); ++i) {
      const MeanAndError m = mean_and_error(bits[i]);
      all.push_back(m.mean);
      const data::Dataset& d = selection.dataset;
      lines.push_back(
          {{"index", index[i]},
           {"label", d.labels.empty() ? -1 : d.labels[static_cast<size_t>(index[i])]},
           {"bits_per_dimension", m.mean},
           {"standard_error", std::isfinite(m.error) ? Json(m.error) : Json()},
           {"log_likelihood_nats", -m.mean * std::log(2.0) * static_cast<double>(numbers)}});
    }
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  const std::filesystem::path out = flags.out;
  write_jsonl(out / "results.jsonl", lines);
  const MeanAndError m = mean_and_error(all);
  const Json summary = {{"images", total},
                        {"bits_per_dimension", m.mean},
                        {"standard_error", std::isfinite(m.error) ? Json(m.error) : Json()},
                        {"bits_per_dimension_median", median(all)},
                        {"steps", timesteps.size()},
                        {"seconds", seconds}};
  write_run(out, common, echo(flags), {&model.info()}, summary);
  if (common.json) {
    fmt::print("{}\n", summary.dump());
  } else if (!common.quiet) {
    fmt::print(
        "{:.4f} bits per dimension (standard error {:.4f}, median {:.4f}), {} images, {} "
        "steps, {:.1f} s\n",
        m.mean, m.error, summary["bits_per_dimension_median"].get<double>(), total, flags.steps,
        seconds);
  }
}

}  // namespace

void add_likelihood(CLI::App& app, Common& common) {
  add_command<Flags>(app, "likelihood", "How probable a model finds images, in bits per dimension",
                     common, run);
}

}  // namespace diffscm::apps
