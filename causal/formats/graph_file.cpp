#include "causal/formats/graph_file.h"

#include "causal/formats/bif.h"
#include "causal/formats/dot.h"
#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::causal {
namespace {

constexpr uint64_t kGraphLimit = uint64_t{256} << 20;

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
                               path.extension().string(), io::show(path));
  file.graph = file.graph.in_folder(std::filesystem::absolute(path).parent_path());
  return file;
}

std::vector<std::string> write_graph(const std::filesystem::path& path, const Graph& graph) {
  const std::string ending = path.extension().string();
  std::vector<std::string> notes;
  std::string text;
  if (ending == ".toml") {
    text = to_toml(graph);
  } else if (ending == ".json") {
    text = to_json(graph).dump(1) + "\n";
  } else if (ending == ".bif") {
    text = to_bif(graph);
  } else if (ending == ".dot" || ending == ".gv") {
    text = to_dot(graph);
    for (const Node& node : graph.nodes())
      if (!node.mechanism.name.empty()) {
        notes = {"DOT has the nodes and edges, not the mechanisms"};
        break;
      }
  } else {
    fail("{} is not a graph's file: give a .toml, .json, .bif, .dot or .gv", io::show(path));
  }
  io::atomic_write(path, text);
  return notes;
}

}  // namespace diffscm::causal
