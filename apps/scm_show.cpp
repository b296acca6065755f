// diffscm scm show: a graph in words and as a picture, before and after do(); other formats.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>

#include "apps/output_folder.h"
#include "apps/report/graph_drawing.h"
#include "apps/scm.h"
#include "causal/factorisation.h"
#include "causal/formats/graph_file.h"
#include "causal/node_text.h"
#include "causal/parse_intervention.h"
#include "engine/io/ending.h"
#include "engine/io/file.h"
#include "engine/io/json.h"

namespace diffscm::apps {
namespace {

using Json = nlohmann::ordered_json;

struct Flags {
  std::string graph, set, out;
  template <class V>
  void visit(V&& flag) {
    flag("graph", &graph, "a graph's file, a folder made by scm fit, or a shipped graph's name",
         {.required = true, .positional = true, .value = "FILE"});
    flag("do", &set, "show it under do() too: vaccinated=0,income=natural*1.1",
         {.value = "NODE=VALUE,..", .otherwise = "nothing"});
    flag("out", &out,
         "write a picture (.svg), or the graph in another format: .toml, .json, .bif, .dot",
         {.value = "FILE", .otherwise = "to the screen alone"});
  }
};

std::string describe(const causal::Node& node) {
  const data::Attribute& a = node.attribute;
  std::string text = name_of(node.kind);
  if (node.is_discrete()) {
    constexpr size_t kShown = 8;
    text += ":";
    for (size_t k = 0; k < std::min(a.states.size(), kShown); ++k)
      text += " " + causal::quoted(a.states[k]);
    if (a.states.size() > kShown) text += fmt::format(" .. ({} states)", a.states.size());
  } else if (std::isfinite(a.low) || std::isfinite(a.high)) {
    text += fmt::format(" from {} to {}", a.low, a.high);
  }
  if (node.is_latent()) text += ", latent";
  if (!node.mechanism.name.empty()) text += "; " + node.mechanism.name;
  return text;
}

void print(const causal::Graph& graph, const causal::Intervention& intervention) {
  size_t edges = 0, width = 0;
  for (size_t i = 0; i < graph.size(); ++i) {
    edges += graph.parents(i).size();
    width = std::max(width, graph[i].name().size());
  }
  fmt::print("{}{} node{}, {} edge{}\n", graph.name().empty() ? "" : graph.name() + ": ",
             graph.size(), graph.size() == 1 ? "" : "s", edges, edges == 1 ? "" : "s");
  for (const causal::Node& node : graph.nodes())
    fmt::print("  {:{}}  {}\n", node.name(), width, describe(node));
  fmt::print("{}\n", causal::factorisation(graph));
  if (!intervention.empty()) fmt::print("{}\n", causal::factorisation(graph, intervention));
}

// The graph for a file in another folder, from which the networks that it names are found.
causal::Graph moved_to(const std::filesystem::path& folder, const causal::Graph& graph) {
  std::vector<causal::Node> nodes(graph.nodes().begin(), graph.nodes().end());
  for (causal::Node& node : nodes) {
    if (node.kind != causal::NodeKind::image || node.mechanism.folder.empty()) continue;
    const auto move = [&](nlohmann::json& file) {
      const std::filesystem::path path = file.is_string() ? file.get<std::string>() : "";
      if (!path.empty() && path.is_relative())
        file = std::filesystem::proximate(node.mechanism.folder / path, folder).generic_string();
    };
    nlohmann::json& parameters = node.mechanism.parameters;
    if (parameters.contains("model")) move(parameters["model"]);
    if (parameters.contains("predictors")) std::ranges::for_each(parameters["predictors"], move);
  }
  return causal::Graph(std::move(nodes), graph.name());
}

void check_format(const std::string& out) {
  constexpr std::array kFormats{".svg", ".toml", ".json", ".bif", ".dot", ".gv"};
  if (out.empty() || std::ranges::count(kFormats, io::ending_of(out)) > 0) return;
  throw UsageError(fmt::format("--out {}: give .svg for a picture, or {}", io::show(out),
                               fmt::join(kFormats.begin() + 1, kFormats.end(), ", ")));
}

void run(Common& common, Flags flags) {
  check_format(flags.out);
  keep_input(flags.out, graph_file(flags.graph), "the graph to show");
  const causal::Graph graph = read_graph_for(common, flags.graph);
  check_mechanisms(graph, flags.graph);
  const causal::Intervention intervention =
      as_usage([&] { return causal::parse_intervention(flags.set, graph); });
  if (!flags.out.empty()) {
    const std::filesystem::path out = flags.out;
    if (io::ending_of(flags.out) == ".svg") {
      io::atomic_write(out, draw_graph(graph, intervention));
    } else {
      if (!intervention.empty())
        throw UsageError("--out in this format is the graph as it is: give .svg, or no --do");
      const causal::Graph moved = moved_to(std::filesystem::absolute(out).parent_path(), graph);
      for (const std::string& note : causal::write_graph(out, moved)) common.console.say(note);
    }
  }
  if (common.json) {
    Json j = causal::to_json(graph);
    j["factorisation"] = causal::factorisation(graph, {}, static_cast<size_t>(-1));
    if (!intervention.empty())
      j["under_do"] = causal::factorisation(graph, intervention, static_cast<size_t>(-1));
    fmt::print("{}\n", io::dump(j));
  } else if (!common.quiet) {
    print(graph, intervention);
    if (!flags.out.empty()) fmt::print("written: {}\n", flags.out);
  }
}

}  // namespace

void add_scm_show(CLI::App& scm, Common& common) {
  add_command<Flags>(scm, "show", "Draw a graph, and what do() makes of it; convert formats",
                     common, run);
}

}  // namespace diffscm::apps
