#include "causal/formats/graph_file.h"

#include <algorithm>

#include "causal/formats/bif.h"
#include "causal/formats/dot.h"
#include "engine/io/ending.h"
#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::causal {
namespace {

constexpr uint64_t kGraphLimit = uint64_t{256} << 20;

// What of the graph a file in BIF or DOT does not say.
std::vector<std::string> lost(const Graph& graph, bool bif) {
  const auto any = [&](auto&& what) { return std::ranges::any_of(graph.nodes(), what); };
  const auto has_column = [](const Node& n) { return !n.is_latent() && n.column != n.name(); };
  std::vector<std::string> notes;
  if (!bif && any([](const Node& n) { return !n.mechanism.name.empty(); }))
    notes.emplace_back("DOT has the nodes and edges, not the mechanisms");
  if (any(has_column) || (bif && any(&Node::is_latent)))
    notes.push_back(fmt::format("{} does not say which column a node has{}", bif ? "BIF" : "DOT",
                                bif ? ", or that it is latent" : ""));
  if (bif && any([](const Node& n) {
        return n.attribute.states.size() > 2 &&
               n.mechanism.parameters.value("counterfactual", "") == "inverse-cdf";
      }))
    notes.emplace_back(
        "BIF does not say counterfactual = \"inverse-cdf\": read back, they are by Gumbel-max");
  return notes;
}

}  // namespace

GraphFile parse_graph(std::string_view text, std::string_view ending, std::string_view where) {
  if (ending == ".toml") return {parse_toml_graph(text, where)};
  if (ending == ".json") {
    const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    require(!json.is_discarded(), "{} is not JSON", where);
    return {parse_json_graph(json, where)};
  }
  if (ending == ".bif") return parse_bif(text, where);
  if (ending == ".dot" || ending == ".gv" || ending == ".txt") return parse_dot(text, where);
  fail("{} is not a graph: give a .toml, .json, .bif, .dot, .gv or .txt (DOT or DAGitty)", where);
}

GraphFile read_graph(const std::filesystem::path& path) {
  const io::Bytes bytes = io::read_file(path, kGraphLimit);
  GraphFile file = parse_graph({reinterpret_cast<const char*>(bytes.data()), bytes.size()},
                               io::ending_of(path.native()), io::show(path));
  file.graph = file.graph.in_folder(std::filesystem::absolute(path).parent_path());
  return file;
}

std::vector<std::string> write_graph(const std::filesystem::path& path, const Graph& graph) {
  const std::string ending = io::ending_of(path.native());
  std::vector<std::string> notes;
  std::string text;
  if (ending == ".toml") {
    text = to_toml(graph);
  } else if (ending == ".json") {
    text = to_json(graph).dump(1) + "\n";
  } else if (ending == ".bif") {
    text = to_bif(graph);
    notes = lost(graph, /*bif=*/true);
  } else if (ending == ".dot" || ending == ".gv") {
    text = to_dot(graph);
    notes = lost(graph, /*bif=*/false);
  } else {
    fail("{} is not a graph's file: give a .toml, .json, .bif, .dot or .gv", io::show(path));
  }
  io::atomic_write(path, text);
  return notes;
}

}  // namespace diffscm::causal
