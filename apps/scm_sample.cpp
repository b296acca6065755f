// diffscm scm sample: rows of a causal model, as it is or under do().
#include <fmt/format.h>

#include "apps/output_folder.h"
#include "apps/scm.h"
#include "causal/parse_intervention.h"
#include "engine/io/json.h"

namespace diffscm::apps {
namespace {

using Json = nlohmann::ordered_json;

struct Flags {
  std::string model, intervention, format = "csv", out;
  int64_t count = 1000;
  bool noise = false;
  template <class V>
  void visit(V&& flag) {
    flag("model", &model,
         "the model: a folder made by scm fit, or a graph that says everything, by file or name",
         {.required = true, .positional = true, .value = "FILE"});
    flag("do", &intervention, "set nodes: flu=no,income=natural*1.1",
         {.value = "NODE=VALUE,..", .otherwise = "nothing is set"});
    flag("count", &count, "rows", {.least = 1, .most = 1e9});
    flag("noise", &noise, "also write noise.npz, the noise of every node");
    flag("format", &format, "of the table", {.choices = {"csv", "npz"}});
    flag("out", &out, "output folder", {.required = true, .value = "DIR"});
  }
};

void run(Common& common, Flags flags) {
  const causal::StructuralCausalModel model = read_model_for(common, flags.model);
  const causal::Graph& graph = model.graph();
  const causal::Intervention intervention =
      as_usage([&] { return causal::parse_intervention(flags.intervention, graph); });
  const causal::Rows rows = causal::first_rows(common.seed, flags.count);
  const causal::NodeValues noise = model.draw_noise(rows);
  const causal::NodeValues values = model.predict(noise, intervention).value;

  const OutputFolder folder(flags.out, "scm sample");
  const std::filesystem::path out = flags.out;
  data::write_table(out / ("samples." + flags.format), to_table(graph, values));
  if (flags.noise) {
    data::Table table;
    for (size_t i = 0; i < graph.size(); ++i) table.add({.name = graph[i].name()}, noise[i]);
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
