#include "causal/formats/graph_file.h"

#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::causal {
namespace {

constexpr uint64_t kGraphLimit = uint64_t{256} << 20;

}  // namespace

GraphFile read_graph(const std::filesystem::path& path) {
  const std::string ending = path.extension().string();
  const io::Bytes bytes = io::read_file(path, kGraphLimit);
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::string where = io::show(path);
  if (ending == ".toml") return {parse_toml_graph(text, where)};
  if (ending == ".json") {
    const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    require(!json.is_discarded(), "{} is not JSON", where);
    return {parse_json_graph(json, where)};
  }
  fail("{} is not a graph: give a .toml, .json", where);
}

std::vector<std::string> write_graph(const std::filesystem::path& path, const Graph& graph) {
  const std::string ending = path.extension().string();
  if (ending == ".toml") {
    io::atomic_write(path, to_toml(graph));
    return {};
  }
  require(ending == ".json", "{} is not a graph's file: give a .toml, .json", io::show(path));
  io::atomic_write(path, to_json(graph).dump(1) + "\n");
  return {};
}

}  // namespace diffscm::causal
