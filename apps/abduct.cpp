// diffscm abduct: the exogenous noise of images, and how well it gives them back.
#include "diffusion/abduction.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <numeric>

#include "apps/inference.h"
#include "apps/notes.h"
#include "apps/output_folder.h"
#include "diffusion/batch.h"
#include "diffusion/known_states.h"
#include "engine/io/json.h"
#include "engine/io/npz.h"
#include "evaluation/linear_probe.h"

namespace diffscm::apps {
namespace {

using Json = nlohmann::ordered_json;

struct Flags {
  std::string model, out;
  DataFlags data;
  AbductionFlags abduction;
  std::string encode = "unconditional";
  int64_t batch = 32;
  bool probe = false;
  template <class V>
  void visit(V&& flag) {
    flag("model", &model, "diffusion model: a file, a run's folder or a shipped model's name",
         {.required = true, .model = true});
    data.visit(flag);
    flag("encode", &encode, "abduction is told no parent, or the factual ones",
         {.choices = {"unconditional", "factual"}});
    abduction.visit(flag);
    abduction.visit_threshold(flag);
    flag("batch", &batch, "images at a time", {.least = 1, .most = 1e6});
    flag("probe", &probe, "also say what a linear function reads off u: parents, style");
    flag("out", &out, "output folder", {.required = true, .value = "DIR"});
  }
};

// Told nothing, or what is known of these images.
EpsilonModel epsilon_of(const DiffusionModel& model, const Selection& selection,
                        std::span<const int64_t> index, Encoding encoding) {
  if (encoding == Encoding::unconditional) return model.epsilon();
  std::vector<Assignment> factual;
  for (const int64_t i : index) factual.push_back(selection.dataset.factual(i));
  for (const Condition& c : model.conditions()) require_factual({&c.name, 1}, factual);
  return model.epsilon(factual);
}

// What is known of an image by name: its attributes, then the style of its world.
struct Readable {
  std::string name;
  int64_t classes = 0;  // 0: a number
  std::vector<double> values{};
};

std::vector<Readable> readable(const Selection& selection) {
  const data::Dataset& dataset = selection.dataset;
  std::vector<Readable> all;
  for (const data::Attribute& a : dataset.attributes) all.push_back({a.name, std::ssize(a.states)});
  const auto attributes = std::ssize(all);
  if (dataset.world)
    for (const auto& [name, value] : dataset.world->style(selection.index[0]))
      all.push_back({name});
  for (const int64_t i : selection.index) {
    const Assignment factual = dataset.factual(i),
                     style = dataset.world ? dataset.world->style(i) : Assignment{};
    for (auto r = all.begin(); r != all.end(); ++r)
      r->values.push_back((r - all.begin() < attributes ? factual : style).at(r->name));
  }
  return all;
}

// A row for each: what a linear probe reads of it from the images, from u's point on the chain and,
// of ddpm, from the noise of each step, of which step l leads from level l to l - 1.
Json probe(const std::vector<Readable>& all, const Tensor& factual, const Tensor& latent,
           const std::vector<Tensor>& steps) {
  Json rows = Json::array();
  for (const Readable& r : all)
    rows.push_back({{"name", r.name}, {"measure", r.classes > 0 ? "accuracy" : "r2"}});
  const auto read = [&](const Tensor& features, const auto& put) {
    const LinearProbe from({&features, 1});
    for (size_t i = 0; i < all.size(); ++i)
      put(rows[i], all[i].classes > 0 ? from.accuracy(all[i].values, all[i].classes)
                                      : from.r2(all[i].values));
  };
  read(factual, [](Json& row, double score) { row["image"] = score; });
  read(latent, [](Json& row, double score) { row["latent"] = score; });
  for (const Tensor& step : steps)
    read(step, [](Json& row, double score) { row["steps"].push_back(score); });
  return rows;
}

void print_probe(const Json& rows) {
  const auto text = [](const Json& score) {
    return score.is_number() ? fmt::format("{:.3f}", score.get<double>()) : "-";
  };
  fmt::print("{:<18} {:>8} {:>8} {:>8} {:>18}\n", "a linear probe", "", "image", "latent",
             "clearest step");
  for (const Json& row : rows) {
    std::string best;
    if (row.contains("steps")) {
      const auto at = std::ranges::max_element(row["steps"], {}, [](const Json& score) {
        return score.is_number() ? score.get<double>() : -1.0;
      });
      best = fmt::format("{} (step {})", text(*at), at - row["steps"].begin() + 1);
    }
    fmt::print("{:<18} {:>8} {:>8} {:>8} {:>18}\n", row["name"].get<std::string>(),
               row["measure"].get<std::string>(), text(row["image"]), text(row["latent"]), best);
  }
}

void run(Common& common, Flags flags) {
  AbductionOptions& options = flags.abduction.options;
  const Encoding encoding = parse_encoding(flags.encode);
  options.method = flags.abduction.resolve(encoding);
  options.threshold.kind = parse_threshold(flags.abduction.threshold);
  options.seed = common.seed;
  as_usage([&] { validate(options); });
  const DiffusionModel model(flags.model, common.target(), flags.abduction.steps, common.layers());
  options.levels =
      as_usage([&] { return model.chain().levels_of_fraction(flags.abduction.fraction); });
  Selection selection = select(flags.data, model);
  if (encoding == Encoding::factual) number_states(selection.dataset, model);
  as_usage([&] {
    require(encoding == Encoding::unconditional || model.is_conditional(),
            "--encode factual: {} cannot be told any parent", model.info().path);
    require(!flags.probe || (std::ssize(selection.index) >= LinearProbe::kFewest &&
                             std::ssize(selection.index) <= LinearProbe::kMost),
            "--probe: {} images; give --index {} to {} of them", selection.index.size(),
            LinearProbe::kFewest, LinearProbe::kMost);
    epsilon_of(model, selection, {&selection.index[0], 1}, encoding);
  });
  const std::vector<Readable> parents = flags.probe ? readable(selection) : std::vector<Readable>();
  const OutputFolder folder(flags.out, "abduct");
  say_notes(common, selection.dataset);

  const auto start = std::chrono::steady_clock::now();
  const int64_t total = static_cast<int64_t>(selection.index.size()),
                batches = (total + flags.batch - 1) / flags.batch;
  std::vector<Tensor> factuals, latents, reconstructions;
  std::vector<std::vector<Tensor>> steps;  // [step][batch], of ddpm
  std::vector<int64_t> labels;
  std::vector<double> roundtrip, by_level;  // by_level: evaluations, mean over images
  std::vector<Json> lines;
  for (int64_t b = 0; b < batches; ++b) {
    const std::vector<int64_t> index(
        selection.index.begin() + b * flags.batch,
        selection.index.begin() + std::min(total, (b + 1) * flags.batch));
    const Tensor factual = selection.dataset.images(index).to(model.target());
    // The bar counts both passes: abduction, then the reconstruction that measures it.
    const Progress bar = level_progress(common, "abduct", b, batches);
    options.index = index;
    const EpsilonModel epsilon = epsilon_of(model, selection, index, encoding);
    const Abduction a = abduct(epsilon, {}, model.chain(), factual, options,
                               [&](int done, int levels) { bar(done, 2 * levels); });
    const Tensor reconstruction =
        predict(a, epsilon, {}, model.chain(), options.levels, {},
                [&](int done, int levels) { bar(levels + done, 2 * levels); });
    by_level.resize(a.level_evaluations.size());
    for (size_t l = 0; l < by_level.size(); ++l)
      by_level[l] += a.level_evaluations[l] / static_cast<double>(total);
    const std::vector<double> l1 = l1_grey_levels(reconstruction, factual);
    for (size_t i = 0; i < index.size(); ++i) {
      const bool measured = !a.residual.empty();
      labels.push_back(selection.dataset.labels.empty()
                           ? -1
                           : selection.dataset.labels[static_cast<size_t>(index[i])]);
      roundtrip.push_back(l1[i]);
      lines.push_back({{"index", index[i]},
                       {"label", labels.back()},
                       {"roundtrip_l1", l1[i]},
                       {"residual", measured ? Json(a.residual[i]) : Json()},
                       {"converged", measured ? Json(a.converged[i] != 0) : Json()},
                       {"evaluations", a.evaluations[i]}});
    }
    factuals.push_back(factual);
    latents.push_back(a.latent);
    reconstructions.push_back(clamp_to_image(reconstruction));
    if (!flags.probe) continue;
    steps.resize(a.noise.size());
    for (size_t k = 0; k < a.noise.size(); ++k) steps[k].push_back(a.noise[k].to(Target::cpu));
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  const Tensor factual = concatenate(factuals), latent = concatenate(latents),
               reconstruction = concatenate(reconstructions);
  const std::filesystem::path out = flags.out;
  io::write_npz(out / "abduction.npz", {{"factual", io::NpyArray::from(factual)},
                                        {"latent", io::NpyArray::from(latent)},
                                        {"reconstruction", io::NpyArray::from(reconstruction)},
                                        {"label", io::NpyArray::from(labels, {total})}});
  std::vector<io::GridRow> rows{{"factual", {}}, {"u / 3", {}}, {"rec", {}}};
  std::vector<float> thirds = latent.to_vector();
  for (float& v : thirds) v /= 3;  // the noise has unit variance: three sigma fill the grey scale
  const Tensor visible = Tensor::from(thirds, latent.shape());
  for (int64_t i = 0; i < std::min<int64_t>(total, 16); ++i) {
    rows[0].images.push_back(io::grid_image(factual, i));
    rows[1].images.push_back(io::grid_image(visible, i));
    rows[2].images.push_back(io::grid_image(reconstruction, i));
  }
  io::write_grid(out / "grid.png", rows,
                 {.title = fmt::format("abduction, {}", flags.abduction.method), .columns = {}});
  write_jsonl(out / "results.jsonl", lines);

  Json unconverged = Json::array();
  for (const Json& line : lines)
    if (line["converged"].is_boolean() && !line["converged"].get<bool>())
      unconverged.push_back(line["index"]);
  Json summary = {{"images", total},
                  {"roundtrip_l1_median", median(roundtrip)},
                  {"roundtrip_l1_max", *std::max_element(roundtrip.begin(), roundtrip.end())},
                  {"not_converged", unconverged},
                  {"evaluations", std::accumulate(by_level.begin(), by_level.end(), 0.0)},
                  {"evaluations_by_level", by_level},
                  {"seconds", seconds}};
  if (flags.probe) {
    std::vector<Tensor> noise;
    for (const std::vector<Tensor>& step : steps) noise.push_back(concatenate(step));
    summary["probe"] = probe(parents, factual.to(Target::cpu), latent.to(Target::cpu), noise);
  }
  flags.abduction.steps = model.chain().levels();
  Json record = echo(flags);
  record["levels"] = options.levels;
  write_run(out, common, record, {&model.info()}, summary);
  if (common.json) {
    fmt::print("{}\n", io::dump(summary));
  } else if (!common.quiet) {
    fmt::print(
        "round trip: median {:.3f}, worst {:.3f} grey levels; {:.0f} evaluations an image over {} "
        "levels; {}{:.1f} s; picture: {}\n",
        summary["roundtrip_l1_median"].get<double>(), summary["roundtrip_l1_max"].get<double>(),
        summary["evaluations"].get<double>(), by_level.size(),
        options.method == AbductionMethod::fixed_point
            ? fmt::format("{} of {} images not to the tolerance; ", unconverged.size(), total)
            : "",
        seconds, (out / "grid.png").string());
    if (flags.probe) print_probe(summary["probe"]);
  }
}

}  // namespace

void add_abduct(CLI::App& app, Common& common) {
  add_command<Flags>(app, "abduct", "Recover the exogenous noise of images", common, run);
}

}  // namespace diffscm::apps
