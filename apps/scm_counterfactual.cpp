// diffscm scm counterfactual: what the rows of a table would have been under do().
#include <fmt/format.h>

#include <cmath>

#include "apps/output_folder.h"
#include "apps/scm.h"
#include "causal/parse_intervention.h"
#include "engine/io/json.h"
#include "engine/io/jsonl.h"

namespace diffscm::apps {
namespace {

using Json = nlohmann::ordered_json;

struct Flags {
  std::string model, intervention, format = "csv", out;
  TableFlags table{.index = "0:100"};
  template <class V>
  void visit(V&& flag) {
    flag("model", &model,
         "the model: a folder made by scm fit, or a graph that says everything, by file or name",
         {.required = true, .positional = true, .value = "FILE"});
    flag("observed", &table.data, "the factual rows: .csv or .npz",
         {.required = true, .value = "FILE"});
    flag("index", &table.index, "which rows: 7  0:100  :", {.value = "RANGE"});
    flag("drop-missing", &table.drop_missing, "leave out rows that lack a value");
    flag("do", &intervention, "set nodes: flu=no,income=natural*1.1",
         {.required = true, .value = "NODE=VALUE,.."});
    flag("format", &format, "of the table", {.choices = {"csv", "npz"}});
    flag("out", &out, "output folder", {.required = true, .value = "DIR"});
  }
};

// The noise of one row: a number, or several.
Json noise_of(const causal::Values& noise, size_t row) {
  if (noise.rows() == 0) return {};
  const auto width = static_cast<size_t>(noise.width);
  if (width == 1) return noise.numbers[row];
  Json all = Json::array();
  for (size_t k = 0; k < width; ++k) all.push_back(noise.numbers[row * width + k]);
  return all;
}

void run(Common& common, Flags flags) {
  const causal::StructuralCausalModel model = read_model_for(common, flags.model);
  const causal::Graph& graph = model.graph();
  for (const causal::Node& node : graph.nodes())
    require(!node.is_latent(), "node {} is latent: a counterfactual needs every factual value",
            node.name());
  const causal::Intervention intervention =
      as_usage([&] { return causal::parse_intervention(flags.intervention, graph); });
  if (intervention.empty()) throw UsageError("--do sets nothing: give NODE=VALUE");
  const NodeRows rows = read_rows(common, flags.table, graph);
  const causal::CounterfactualRows answer =
      model.counterfactual(rows.values, intervention, {common.seed, rows.index});

  const OutputFolder folder(flags.out, "scm counterfactual");
  const std::filesystem::path out = flags.out;
  data::write_table(out / ("counterfactuals." + flags.format),
                    to_table(graph, answer.counterfactual));
  io::JsonlWriter lines(out / "results.jsonl");
  int64_t changed_cells = 0;
  for (size_t row = 0; row < rows.index.size(); ++row) {
    Json line = {{"index", rows.index[row]}};
    for (size_t i = 0; i < graph.size(); ++i) {
      const causal::Node& node = graph[i];
      const auto value = [&](const causal::NodeValues& values) {
        return json_of(node, values[i].numbers[row]);
      };
      line["nodes"][node.name()] = {{"factual", value(answer.factual)},
                                    {"natural", value(answer.natural)},
                                    {"counterfactual", value(answer.counterfactual)},
                                    {"noise", noise_of(answer.noise[i], row)}};
      changed_cells += answer.factual[i].numbers[row] != answer.counterfactual[i].numbers[row];
    }
    lines.write(line);
  }
  Json mechanisms = Json::object();
  for (size_t i = 0; i < graph.size(); ++i)
    mechanisms[graph[i].name()] = model.mechanism(i).description();
  const Json summary = {{"rows", rows.index.size()},
                        {"changed_values", changed_cells},
                        {"mechanisms", mechanisms},
                        {"table", "counterfactuals." + flags.format}};
  write_scm_run(flags.out, common, echo(flags), graph, summary);
  if (common.json)
    fmt::print("{}\n", io::dump(summary));
  else if (!common.quiet)
    fmt::print("{} rows, {} values changed: {}\n", rows.index.size(), changed_cells,
               (out / ("counterfactuals." + flags.format)).string());
}

}  // namespace

void add_scm_counterfactual(CLI::App& scm, Common& common) {
  add_command<Flags>(scm, "counterfactual", "What the rows of a table would have been under do()",
                     common, run);
}

}  // namespace diffscm::apps
