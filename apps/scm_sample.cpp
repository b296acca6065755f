// diffscm scm sample: rows of a causal model, as it is or under do().
#include <fmt/format.h>

#include <chrono>
#include <numeric>
#include <optional>

#include "apps/output_folder.h"
#include "apps/scm.h"
#include "causal/dataset_nodes.h"
#include "causal/parse_intervention.h"
#include "diffusion/batch.h"
#include "engine/io/grid.h"
#include "engine/io/json.h"
#include "engine/io/npz.h"

namespace diffscm::apps {
namespace {

using Json = nlohmann::ordered_json;

struct Flags {
  std::string model, intervention, format = "csv", out;
  std::vector<std::string> settings;
  int64_t count = 1000;
  bool noise = false;
  template <class V>
  void visit(V&& flag) {
    flag("model", &model,
         "the model: a folder made by scm fit, or a graph that says everything, by file or name",
         {.required = true, .positional = true, .value = "FILE"});
    flag("do", &intervention, "set nodes: flu=no,income=natural*1.1",
         {.value = "NODE=VALUE,..", .otherwise = "nothing is set"});
    flag("set", &settings, "change a mechanism, as often as needed: image.scale=1.3",
         {.value = "NODE.KEY=VALUE", .otherwise = "as fitted"});
    flag("count", &count, "rows", {.least = 1, .most = 1e9});
    flag("noise", &noise, "also write noise.npz, the noise of every node but images");
    flag("format", &format, "of the table", {.choices = {"csv", "npz"}});
    flag("out", &out, "output folder", {.required = true, .value = "DIR"});
  }
};

// Images as an archive, the first as a picture.
void write_images(const Flags& flags, const causal::Graph& graph,
                  const causal::NodeValues& values) {
  constexpr int64_t kShown = 20, kAcross = 10;
  io::NpyArrays arrays;
  std::vector<io::GridRow> grid;
  for (size_t i = 0; i < graph.size(); ++i) {
    if (!values[i].is_image()) continue;
    arrays.emplace(graph[i].name(), io::NpyArray::from(values[i].images));
    for (int64_t row = 0; row < std::min(values[i].rows(), kShown); ++row) {
      if (row % kAcross == 0) grid.emplace_back();
      grid.back().images.push_back(
          io::grid_image(values[i].images, row, attributes_of(graph, values, nullptr, row)));
    }
  }
  if (arrays.empty()) return;
  io::write_npz(std::filesystem::path(flags.out) / "images.npz", arrays);
  io::write_grid(
      std::filesystem::path(flags.out) / "grid.png", grid,
      {.title = flags.intervention.empty() ? graph.name() : "do(" + flags.intervention + ")",
       .columns = {}});
}

struct Sample {
  causal::NodeValues values, noise;  // of images no noise: it is a stack of images each
};

// Images batch by batch, for the sake of memory.
Sample draw(Common& common, const causal::StructuralCausalModel& model,
            const causal::Intervention& intervention, int64_t count) {
  constexpr int64_t kImages = 32;
  const size_t nodes = model.graph().size();
  const bool images = causal::has_image(model.graph());
  const int64_t size = images ? kImages : count;
  Sample all{causal::NodeValues(nodes), causal::NodeValues(nodes)};
  std::vector<std::vector<Tensor>> pictures(nodes);
  const auto append = [](causal::Values& to, const causal::Values& more) {
    to.width = more.width;
    to.numbers.insert(to.numbers.end(), more.numbers.begin(), more.numbers.end());
  };
  const auto start = std::chrono::steady_clock::now();
  for (int64_t begin = 0; begin < count; begin += size) {
    if (stop_requested()) throw Stopped{};
    const int64_t end = std::min(count, begin + size);
    causal::Rows rows{common.seed, std::vector<int64_t>(static_cast<size_t>(end - begin))};
    std::iota(rows.index.begin(), rows.index.end(), begin);
    const causal::NodeValues noise = model.draw_noise(rows);
    const causal::NodeValues values = model.predict(noise, intervention).value;
    for (size_t i = 0; i < nodes; ++i) {
      append(all.values[i], values[i]);
      if (values[i].is_image())
        pictures[i].push_back(values[i].images);
      else
        append(all.noise[i], noise[i]);
    }
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    const auto done = static_cast<double>(end), total = static_cast<double>(count);
    if (images)
      common.console.progress("sample", done, total, elapsed.count() / done * (total - done), "");
  }
  if (images) common.console.finish_progress();
  for (size_t i = 0; i < nodes; ++i)
    if (!pictures[i].empty()) all.values[i] = causal::Values(concatenate(pictures[i]));
  return all;
}

void run(Common& common, Flags flags) {
  const causal::StructuralCausalModel model = read_model_for(common, flags.model, flags.settings);
  const causal::Graph& graph = model.graph();
  const causal::Intervention intervention =
      as_usage([&] { return causal::parse_intervention(flags.intervention, graph); });
  std::optional<OutputFolder> folder;
  // Images take long, and begin with a folder that can be written to.
  if (causal::has_image(graph)) folder.emplace(flags.out, "scm sample");
  const auto [values, noise] = draw(common, model, intervention, flags.count);

  if (!folder) folder.emplace(flags.out, "scm sample");
  folder->clear({"samples.csv", "samples.npz", "noise.npz", "images.npz", "grid.png"});
  const std::filesystem::path out = flags.out;
  data::write_table(out / ("samples." + flags.format), to_table(graph, values));
  write_images(flags, graph, values);
  if (flags.noise) {
    data::Table table;
    for (size_t i = 0; i < graph.size(); ++i)
      if (graph[i].kind != causal::NodeKind::image) table.add({.name = graph[i].name()}, noise[i]);
    data::write_table(out / "noise.npz", table);
  }
  const Json summary = {{"rows", flags.count}, {"table", "samples." + flags.format}};
  write_scm_run(flags.out, common, echo(flags), graph, summary);
  if (common.json)
    fmt::print("{}\n", io::dump(summary));
  else if (!common.quiet)
    fmt::print("{} rows: {}\n", flags.count, (out / ("samples." + flags.format)).string());
}

}  // namespace

void add_scm_sample(CLI::App& scm, Common& common) {
  add_command<Flags>(scm, "sample", "Draw rows, as nature makes them or under do()", common, run);
}

}  // namespace diffscm::apps
