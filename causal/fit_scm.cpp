#include "causal/fit_scm.h"

#include <algorithm>

#include "causal/model_folder.h"
#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::causal {
namespace {

MechanismSpec usual_mechanism(const Graph& graph, size_t i) {
  const Node& node = graph[i];
  if (node.kind == NodeKind::image) return {.name = "image-diffusion"};
  if (node.parents.empty()) return {.name = "empirical"};
  if (!node.is_discrete()) return {.name = "diffusion"};
  const auto& parents = graph.parents(i);
  const bool table = std::ranges::all_of(parents, [&](size_t p) { return graph[p].is_discrete(); });
  return {.name = table ? "table" : "categorical-network"};
}

// A seed for each node, whatever the order of the lines.
uint64_t seed_of(uint64_t seed, const std::string& name) {
  uint64_t hash = 0xCBF29CE484222325u ^ seed;  // FNV-1a
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return hash;
}

}  // namespace

bool is_inner_number(const Node& node) {
  return node.kind == NodeKind::continuous && !node.parents.empty();
}

Graph with_mechanisms(const Graph& graph, const std::optional<MechanismSpec>& numbers) {
  std::vector<Node> nodes(graph.nodes().begin(), graph.nodes().end());
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (numbers && is_inner_number(nodes[i]))
      nodes[i].mechanism = *numbers;
    else if ((numbers && nodes[i].kind != NodeKind::image) || nodes[i].mechanism.name.empty())
      nodes[i].mechanism = usual_mechanism(graph, i);
  }
  return Graph(std::move(nodes), graph.name());
}

NodeValues node_values(const Graph& graph, const data::Table& table) {
  NodeValues values;
  for (const Node& node : graph.nodes()) {
    const data::Column* column = node.is_latent() ? nullptr : table.find(node.column);
    require(node.is_latent() || column != nullptr, "the data have no column {}",
            io::show(node.column));
    values.push_back(column != nullptr ? column->values : Values());
  }
  return values;
}

void require_fittable(const StructuralCausalModel& model) {
  const Graph& graph = model.graph();
  for (size_t i = 0; i < graph.size(); ++i) {
    if (model.mechanism(i).is_fitted()) continue;
    require(!graph[i].is_latent(), "node {} is latent and cannot be fitted",
            io::show(graph[i].name()));
    for (const size_t p : graph.parents(i))
      require(!graph[p].is_latent(), "node {} cannot be fitted: its parent {} is latent",
              io::show(graph[i].name()), io::show(graph[p].name()));
  }
}

void fit_scm(const Graph& graph, const NodeValues& data, const std::filesystem::path& folder,
             const ScmFitOptions& options) {
  StructuralCausalModel model(graph);
  require_fittable(model);
  std::filesystem::create_directories(folder / "mechanisms");
  write_graph_of_model(folder, graph);
  for (size_t i = 0; i < graph.size(); ++i) {
    const std::string& name = graph[i].name();
    const auto path = mechanism_path(folder, name);
    if (std::filesystem::exists(path)) {
      read_mechanism(path, role_of(graph, i));  // or throws
      continue;
    }
    const auto training = folder / "training" / path.stem();
    Mechanism& mechanism = model.mechanism(i);
    const auto report = [&](double done, const std::string& note, bool finished = false) {
      if (options.progress) options.progress({i, graph.size(), name, note, done, finished});
    };
    report(0, "");
    if (!mechanism.is_fitted()) {
      try {
        mechanism.fit(data[i], model.parent_values(i, data),
                      {.seed = seed_of(options.seed, name),
                       .target = options.target,
                       .layers = options.layers,
                       .folder = training,
                       .stop = options.stop,
                       .progress = [&](double done, double total, const std::string& note) {
                         report(done / total, note);
                       }});
      } catch (const Error& e) {
        fail("node {}: {}", io::show(name), e.what());
      }
    }
    write_mechanism(path, role_of(graph, i), mechanism);
    // Of an image it is the run that made it, with its log; of the others, all is in the file.
    if (graph[i].kind != NodeKind::image) std::filesystem::remove_all(training);
    report(1, "", true);
  }
  if (std::filesystem::exists(folder / "training") &&
      std::filesystem::is_empty(folder / "training"))
    std::filesystem::remove(folder / "training");
}

}  // namespace diffscm::causal
