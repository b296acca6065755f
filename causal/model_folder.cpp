#include "causal/model_folder.h"

#include "causal/file_name.h"
#include "causal/formats/graph_file.h"
#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::causal {
namespace {

namespace fs = std::filesystem;

StructuralCausalModel read_folder(const fs::path& folder) {
  require(fs::exists(folder / "graph.json"), "{} is not a model: it has no graph.json",
          io::show(folder));
  // What mechanisms took from other files is in their own now.
  Graph graph = read_graph(folder / "graph.json").graph.in_folder({});
  std::vector<std::unique_ptr<Mechanism>> mechanisms;
  for (size_t i = 0; i < graph.size(); ++i) {
    const fs::path path = mechanism_path(folder, graph[i].name());
    require(fs::exists(path), "{} is not complete: node {} is not fitted", io::show(folder),
            io::show(graph[i].name()));
    mechanisms.push_back(read_mechanism(path, role_of(graph, i)));
  }
  return {std::move(graph), std::move(mechanisms)};
}

}  // namespace

fs::path mechanism_path(const fs::path& folder, const std::string& node) {
  return folder / "mechanisms" / (file_name(node) + ".safetensors");
}

void write_graph_of_model(const fs::path& folder, const Graph& graph) {
  write_graph(folder / "graph.json", graph);
}

ModelFile load_model(const fs::path& path, bool unfitted) {
  if (fs::is_directory(path)) return {read_folder(path)};
  GraphFile file = read_graph(path);
  try {
    ModelFile loaded{StructuralCausalModel(std::move(file.graph)), std::move(file.notes)};
    const StructuralCausalModel& model = loaded.model;
    for (size_t i = 0; i < model.graph().size() && !unfitted; ++i)
      require(model.mechanism(i).is_fitted(),
              "node {} is not fitted: give a folder made by scm fit, or write its mechanism down",
              io::show(model.graph()[i].name()));
    return loaded;
  } catch (const Error& e) {
    fail("{}: {}", io::show(path), e.what());
  }
}

}  // namespace diffscm::causal
