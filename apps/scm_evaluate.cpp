// diffscm scm evaluate: how good a fitted causal model is, on data and against known equations.
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <optional>

#include "apps/output_folder.h"
#include "apps/report/document.h"
#include "apps/scm_evaluate.h"
#include "causal/dataset_nodes.h"
#include "causal/node_text.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "evaluation/scm/nodes_to_set.h"
#include "evaluation/scm/scm_evaluation.h"

namespace diffscm::apps {
namespace {

using Json = nlohmann::ordered_json;

struct Flags {
  std::string model, truth, out;
  std::string vae, oracle, compat;  // of graphs with an image, as are
  std::vector<std::string> interventions, variants, judges;
  int64_t batch = 32, cycled = 10;
  RowFlags rows;
  ScmEvaluationOptions options;
  template <class V>
  void visit(V&& flag) {
    flag("model", &model,
         "the model: a folder made by scm fit, or a graph that says everything, by file or name",
         {.required = true, .positional = true, .value = "FILE"});
    rows.visit(flag, "data", {.otherwise = "drawn from --truth"}, "rows that it was not fitted to");
    flag("truth", &truth,
         "the equations that made the data: a graph that says everything, by file or name",
         {.value = "FILE", .otherwise = "nobody knows"});
    flag("do", &interventions, "nodes that are set, separated by commas",
         {.value = "NODE,..", .otherwise = "all on which others depend"});
    flag("values", &options.values, "values that each is set to", {.least = 1, .most = 1e4});
    flag("observational", &options.observational_rows, "rows of the observational discrepancy",
         {.least = 10, .most = 1e5});
    flag("interventional", &options.interventional_rows, "rows per value",
         {.least = 10, .most = 1e5});
    flag("counterfactual", &options.counterfactual_rows, "factual rows, each under every value",
         {.least = 1, .most = 1e5});
    flag("variant", &variants,
         "images: the model changed so, as often as there are variants to compare",
         {.value = "NODE.KEY=VALUE ..", .otherwise = "as fitted"});
    flag("judge", &judges,
         "images: an oracle, classifier or regressor that reads a node off them, beside what the "
         "world of the data measures",
         {.value = "NODE=MODEL"});
    const std::string shipped = "the data's own, where one came along";
    flag("vae", &vae, "images: the VAE of CLD", {.otherwise = shipped, .model = true});
    flag("oracle", &oracle, "images: whose features tell how real they look",
         {.otherwise = shipped, .model = true});
    flag("compat", &compat,
         "images: also print the metrics of counterfactual-benchmark as its code computes them",
         {.choices = {"benchmark"}, .otherwise = "ours alone"});
    flag("batch", &batch, "images at once", {.least = 1, .most = 1e6});
    flag("cycled", &cycled, "images that make ten round trips", {.least = 0, .most = 1e6});
    flag("out", &out, "output folder", {.required = true, .value = "DIR"});
  }
};

// Throws UsageError for what cannot be set.
std::vector<std::string> parse_names(const std::vector<std::string>& texts,
                                     const causal::Graph& graph) {
  std::vector<std::string> names;
  return as_usage([&] {
    for (const std::string& text : texts)
      for (const causal::NodeText& part : causal::split_nodes(text, graph)) {
        require(part.sign.empty(), "--do {}: give the node alone, its values come from the data",
                part.text);
        names.push_back(part.node);
      }
    nodes_to_set(graph, names);
    return names;
  });
}

std::string shown(double value) {
  return std::isfinite(value) ? fmt::format("{:.4f}", value) : "-";
}

std::string to_csv(const ScmEvaluation& e) {
  std::string text = "scope,name,metric,value,floor\n";
  const auto line = [&](const std::string& scope, const std::string& name, const char* metric,
                        double value, double floor) {
    if (!std::isfinite(value)) return;
    std::string quoted;
    for (const char c : name) quoted += c == '"' ? "\"\"" : std::string(1, c);
    text += fmt::format("{},\"{}\",{},{:.17g},{}\n", scope, quoted, metric, value,
                        std::isfinite(floor) ? fmt::format("{:.17g}", floor) : "");
  };
  const double none = std::nan("");
  line("model", "", "observational_mmd", e.observational.model, e.observational.floor);
  if (e.with_truth) {
    const Discrepancy d = e.interventional();
    line("model", "", "interventional_mmd", d.model, d.floor);
    line("model", "", "counterfactual_mse", e.cf_mse(), none);
    line("model", "", "counterfactual_mse_first_descendant", e.cf_mse_first(), none);
  }
  for (const InterventionScore& s : e.interventions) {
    line("do", s.node, "interventional_mmd", s.mmd.model, s.mmd.floor);
    line("do", s.node, "counterfactual_mse", s.cf_mse, none);
    line("do", s.node, "counterfactual_mse_first_descendant", s.cf_mse_first, none);
  }
  for (const NodeScore& s : e.nodes) {
    line("node", s.node, "log_density_nats", s.log_density, none);
    line("node", s.node, "crps", s.crps, none);
    line("node", s.node, "crps_marginal", s.crps_marginal, none);
    line("node", s.node, "accuracy", s.accuracy, none);
    line("node", s.node, "calibration_error", s.calibration_error, none);
    line("node", s.node, "independence_p_value", s.independence_p, none);
  }
  return text;
}

std::string report_of(const Flags& flags, const ScmEvaluation& e) {
  Document page("How good is this causal model?");
  page.facts({{"model", flags.model},
              {"truth", flags.truth.empty() ? "unknown" : flags.truth},
              {"data", flags.rows.data.empty() ? "drawn from the truth" : flags.rows.data}});
  page.section("Distributions");
  page.paragraph(
      "Squared maximum mean discrepancy between rows of the model and true ones, and between true "
      "ones and other true ones: that floor is what is left for lack of rows. Counterfactual "
      "error: the mean squared distance to the true counterfactual of the same row, over all "
      "descendants of the node that is set.");
  Table table{{{"discrepancy", "of the model", -1},
               {"floor", "of the truth", 0},
               {"counterfactual error", "mean squared, over all descendants", -1},
               {"of the first", "the alphabetically first descendant alone, as DCM prints it", -1}},
              {}};
  table.rows.push_back(
      {"observed", {{shown(e.observational.model)}, {shown(e.observational.floor)}, {"-"}, {"-"}}});
  for (const InterventionScore& s : e.interventions)
    table.rows.push_back(
        {fmt::format("do({})", s.node),
         {{shown(s.mmd.model)}, {shown(s.mmd.floor)}, {shown(s.cf_mse)}, {shown(s.cf_mse_first)}}});
  page.table(table);
  if (e.with_truth && !e.interventions.empty()) {
    page.section("Counterfactual error by descendant");
    for (const InterventionScore& s : e.interventions) {
      if (!s.counterfactual) {
        page.paragraph(
            fmt::format("do({}): a node below cannot be abducted, so that there is no "
                        "answer.",
                        s.node));
        continue;
      }
      std::vector<std::pair<std::string, std::string>> facts;
      for (size_t i = 0; i < s.descendants.size(); ++i)
        facts.emplace_back(fmt::format("do({}) on {}", s.node, s.descendants[i]),
                           shown(s.cf_mse_of[i]));
      page.facts(facts);
    }
  }
  page.section("Nodes");
  Table nodes{{{"log density", "mean, in nats, of rows that it was not fitted to", 1},
               {"CRPS", "continuous ranked probability score, in the node's unit", -1},
               {"of the marginal", "of other rows' values: what has to be beaten", 0},
               {"accuracy", "of the most probable state", 1},
               {"calibration", "mean gap between confidence and accuracy", -1},
               {"independence",
                "p-value that the recovered noise does not depend on the parents: "
                "small ones speak against the mechanism",
                0}},
              {}};
  for (const NodeScore& s : e.nodes)
    nodes.rows.push_back({fmt::format("{} ({})", s.node, s.mechanism),
                          {{shown(s.log_density)},
                           {shown(s.crps)},
                           {shown(s.crps_marginal)},
                           {shown(s.accuracy)},
                           {shown(s.calibration_error)},
                           {shown(s.independence_p)}}});
  page.table(nodes);
  return page.html();
}

void run(Common& common, Flags flags) {
  causal::StructuralCausalModel model = read_model_for(common, flags.model);
  flags.options.interventions = parse_names(flags.interventions, model.graph());
  if (causal::has_image(model.graph())) {
    if (!flags.truth.empty())
      throw UsageError("--truth: of images it is the world of their data, if that knows it");
    evaluate_image_graph(
        common, model,
        {flags.model, flags.vae, flags.oracle, flags.compat, flags.out, flags.rows,
         flags.options.interventions, flags.variants, flags.judges, flags.batch, flags.cycled},
        echo(flags));
    return;
  }
  if (!flags.variants.empty() || !flags.judges.empty() || !flags.vae.empty() ||
      !flags.oracle.empty() || !flags.compat.empty())
    throw UsageError(
        "--variant, --judge, --vae, --oracle and --compat are for graphs with an image");
  if (flags.rows.data.empty() && flags.truth.empty())
    throw UsageError("give --data, or --truth to draw it from");
  std::optional<causal::StructuralCausalModel> truth;
  if (!flags.truth.empty()) truth.emplace(read_model_for(common, flags.truth));
  causal::NodeValues data;
  if (flags.rows.data.empty())
    data = truth->sample(causal::first_rows(~common.seed, 2000)).value;
  else
    data = read_rows(common, flags.rows, model.graph()).values;

  const OutputFolder folder(flags.out, "scm evaluate");
  const std::filesystem::path out = flags.out;
  flags.options.seed = common.seed;
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  flags.options.progress = [&](int done, int total) {
    if (stop_requested()) throw Stopped{};
    common.console.progress("evaluate", done, total, elapsed() / done * (total - done), "");
  };
  const ScmEvaluation e = evaluate_scm(model, truth ? &*truth : nullptr, data, flags.options);
  common.console.finish_progress();

  Json summary = to_json(e);
  summary["seconds"] = elapsed();
  io::atomic_write(out / "summary.json", io::dump(summary, 2) + "\n");
  io::atomic_write(out / "summary.csv", to_csv(e));
  io::atomic_write(out / "report.html", report_of(flags, e));
  write_scm_run(flags.out, common, echo(flags), model.graph(), summary);
  if (common.json) {
    fmt::print("{}\n", io::dump(summary));
  } else if (!common.quiet) {
    fmt::print("observed: discrepancy {:.4f}, floor {:.4f}\n", e.observational.model,
               e.observational.floor);
    for (const InterventionScore& s : e.interventions)
      fmt::print("do({}): discrepancy {:.4f}, floor {:.4f}; counterfactual error {}\n", s.node,
                 s.mmd.model, s.mmd.floor, shown(s.cf_mse));
    fmt::print("report: {}\n", (out / "report.html").string());
  }
}

}  // namespace

void add_scm_evaluate(CLI::App& scm, Common& common) {
  add_command<Flags>(scm, "evaluate", "How good a causal model is, on data and against the truth",
                     common, run);
}

}  // namespace diffscm::apps
