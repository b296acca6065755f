// diffscm scm sample: rows of a causal model, as it is or under do().
#include <fmt/format.h>

#include "apps/output_folder.h"
#include "apps/scm.h"
#include "causal/parse_intervention.h"
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

void run(Common& common, Flags flags) {
  const causal::StructuralCausalModel model = read_model_for(common, flags.model, flags.settings);
  const causal::Graph& graph = model.graph();
  const causal::Intervention intervention =
      as_usage([&] { return causal::parse_intervention(flags.intervention, graph); });
  const causal::Rows rows = causal::first_rows(common.seed, flags.count);
  const causal::NodeValues noise = model.draw_noise(rows);
  const causal::NodeValues values = model.predict(noise, intervention).value;

  const OutputFolder folder(flags.out, "scm sample");
  folder.clear({"samples.csv", "samples.npz", "noise.npz", "images.npz", "grid.png"});
  const std::filesystem::path out = flags.out;
  data::write_table(out / ("samples." + flags.format), to_table(graph, values));
  write_images(flags, graph, values);
  if (flags.noise) {
    data::Table table;
    for (size_t i = 0; i < graph.size(); ++i)
      if (!noise[i].is_image()) table.add({.name = graph[i].name()}, noise[i]);
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
