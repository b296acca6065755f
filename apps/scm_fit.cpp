// diffscm scm fit: a mechanism for every node of a graph, from a table.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <span>

#include "apps/output_folder.h"
#include "apps/scm.h"
#include "causal/fit_scm.h"
#include "causal/formats/graph_file.h"
#include "engine/io/file.h"
#include "engine/io/json.h"

namespace diffscm::apps {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

struct Flags {
  std::string graph, mechanism, out;
  std::vector<std::string> settings;
  RowFlags rows{.split = "train"};
  bool resume = false;
  template <class V>
  void visit(V&& flag) {
    std::vector<std::string> names;
    for (const causal::MechanismKind& kind : causal::mechanism_kinds()) names.push_back(kind.name);
    flag("graph", &graph,
         "a graph's file (.toml, .json, .bif, .dot, .gv or .txt) or a shipped graph's name",
         {.required = true, .positional = true, .value = "FILE"});
    rows.visit(flag, "data", {.required = true}, "what is learnt from");
    flag("mechanism", &mechanism, "learn every node anew, numbers with parents by this mechanism",
         {.choices = names, .otherwise = "as the graph says; else what fits the node"});
    flag("set", &settings,
         "a parameter of a node's mechanism, image.steps=2000, or of --mechanism, as often as "
         "needed",
         {.value = "NODE.KEY=VALUE|KEY=VALUE", .otherwise = "as the graph says; else their own"});
    flag("out", &out, "the model's folder", {.required = true, .value = "DIR"});
    flag("resume", &resume,
         "go on where the fit in --out was stopped, in the middle of a node too");
  }
};

// The graph with a mechanism for every node, as the flags want it.
causal::Graph mechanisms_for(const Flags& flags, const causal::Graph& given) {
  std::optional<causal::MechanismSpec> numbers;
  if (!flags.mechanism.empty()) numbers.emplace(flags.mechanism);
  std::map<size_t, nlohmann::json> of_nodes;
  for (const std::string& setting : flags.settings) {
    const auto [key, value] = parse_setting(setting);
    const size_t dot = key.rfind('.');
    if (dot != std::string::npos) {
      const size_t node = as_usage([&] { return given.find(key.substr(0, dot)); });
      of_nodes[node][key.substr(dot + 1)] = value;
      continue;
    }
    if (!numbers)
      throw UsageError(fmt::format("--set {}: give NODE.KEY=VALUE, or --mechanism", setting));
    if (std::ranges::none_of(given.nodes(), causal::is_inner_number))
      throw UsageError(fmt::format(
          "--set {} is about numbers with parents, and the graph has none: give NODE.KEY=VALUE",
          setting));
    numbers->parameters[key] = value;
  }
  const causal::Graph graph = causal::with_mechanisms(given, numbers);
  std::vector<causal::Node> nodes(graph.nodes().begin(), graph.nodes().end());
  for (const auto& [node, parameters] : of_nodes)
    nodes[node].mechanism.parameters.update(parameters);
  return causal::Graph(std::move(nodes), graph.name());
}

// What the data are: a table's or archive's bytes, or where images come from.
Json identity_of(const RowFlags& flags, const NodeRows& rows) {
  if (fs::is_regular_file(flags.data)) return {{"sha256", io::sha256_of_file(flags.data)}};
  return {{"name", rows.dataset->name}, {"split", flags.split}, {"size", rows.dataset->size()}};
}

// Nodes that the graph says everything about learn nothing.
void say_what_is_kept(Common& common, const causal::StructuralCausalModel& model) {
  std::vector<std::string> kept;
  for (size_t i = 0; i < model.graph().size(); ++i)
    if (model.mechanism(i).is_fitted()) kept.push_back(model.graph()[i].name());
  if (!kept.empty())
    common.console.say(fmt::format("kept as the graph gives them: {}", fmt::join(kept, ", ")));
}

// States of which the rows say nothing: do() may set them all the same.
void say_what_is_never_seen(Common& common, const causal::Graph& graph,
                            const causal::NodeValues& values) {
  constexpr size_t kShown = 5;
  std::vector<std::string> never;
  for (size_t i = 0; i < graph.size(); ++i) {
    if (!graph[i].is_discrete() || values[i].numbers.empty()) continue;
    std::vector<bool> seen(graph[i].attribute.states.size());
    for (const double state : values[i].numbers) seen[static_cast<size_t>(state)] = true;
    for (size_t k = 0; k < seen.size(); ++k)
      if (!seen[k]) never.push_back(graph[i].name() + "=" + graph[i].attribute.states[k]);
  }
  if (never.empty()) return;
  const auto shown = std::span(never).first(std::min(never.size(), kShown));
  const std::string more =
      never.size() > kShown ? fmt::format(" and {} more", never.size() - kShown) : std::string();
  common.console.say(fmt::format("no row has {}{}: nothing is learnt of {}", fmt::join(shown, ", "),
                                 more, never.size() == 1 ? "it" : "them"));
}

void run(Common& common, Flags flags) {
  const causal::Graph given = read_graph_for(common, flags.graph);
  check_mechanisms(given, flags.graph);
  const causal::Graph graph = mechanisms_for(flags, given);
  const causal::StructuralCausalModel model(graph);  // says now what the mechanisms cannot use
  causal::require_fittable(model);
  NodeRows rows = read_rows(common, flags.rows, graph);
  say_what_is_kept(common, model);
  say_what_is_never_seen(common, graph, rows.values);

  const fs::path out = flags.out;
  // What decides the result: a fit goes on with the same.
  const Json settings = {{"graph", causal::to_json(graph)},
                         {"data", identity_of(flags.rows, rows)},
                         {"index", flags.rows.index},
                         {"rows", rows.index.size()},
                         {"seed", common.seed}};
  rows.dataset.reset();  // its images are among the values
  require(flags.resume || !fs::exists(out / "fit.json"),
          "--out {} holds a fit: give --resume to go on with it, or another folder", io::show(out));
  if (!fs::exists(out / "fit.json"))
    keep_input(out / "graph.json", graph_file(flags.graph), "the graph to fit");
  const OutputFolder folder(out, "scm fit");
  if (fs::exists(out / "fit.json")) {
    const io::Bytes bytes = io::read_file(out / "fit.json");
    const auto before = Json::parse(bytes.begin(), bytes.end(), nullptr, false);
    for (const auto& [key, value] : settings.items())
      require(!before.is_discarded() && before.contains(key) && before[key] == value,
              "--resume: the fit in {} was begun with another {}", io::show(out), key);
  }
  io::atomic_write(out / "fit.json", io::dump(settings, 2) + "\n");

  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  Json nodes = Json::array();
  double first_done = -1, node_start = 0;  // what --resume found done is not part of the rate
  causal::fit_scm(graph, rows.values, out,
                  {.seed = common.seed,
                   .target = common.target(),
                   .layers = common.layers(),
                   .progress =
                       [&](const auto& p) {
                         if (stop_requested()) throw Stopped{};
                         const double done = static_cast<double>(p.node) + p.done;
                         if (first_done < 0) first_done = done;
                         if (p.done == 0) node_start = elapsed();
                         if (p.finished)
                           nodes.push_back({{"node", p.name}, {"seconds", elapsed() - node_start}});
                         const double rate = (done - first_done) / std::max(elapsed(), 1e-9);
                         common.console.progress(
                             "fit", done, static_cast<double>(p.nodes),
                             rate > 0 ? (static_cast<double>(p.nodes) - done) / rate : 0,
                             p.name + (p.note.empty() ? "" : ": " + p.note));
                       },
                   .stop = [] { return stop_requested(); }});
  common.console.finish_progress();

  const Json summary = {{"nodes", graph.size()},
                        {"rows", rows.index.size()},
                        {"seconds", elapsed()},
                        {"fitted", nodes}};
  write_scm_run(flags.out, common, echo(flags), graph, summary);
  if (common.json)
    fmt::print("{}\n", io::dump(summary));
  else if (!common.quiet)
    fmt::print("{} nodes fitted to {} rows in {:.1f} s: {}\n", graph.size(), rows.index.size(),
               elapsed(), out.string());
}

}  // namespace

void add_scm_fit(CLI::App& scm, Common& common) {
  add_command<Flags>(scm, "fit", "Fit a mechanism for every node to data", common, run);
}

}  // namespace diffscm::apps
