#include "evaluation/scm/nodes_to_set.h"

#include <algorithm>

#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm {

std::vector<size_t> nodes_to_set(const causal::Graph& graph,
                                 const std::vector<std::string>& names) {
  std::vector<size_t> image, above;
  for (size_t i = 0; i < graph.size(); ++i)
    if (graph[i].kind == causal::NodeKind::image) image.push_back(i);
  if (!image.empty()) above = graph.ancestors(image);
  const auto matters = [&](size_t i) {
    return image.empty() ? !graph.children(i).empty()
                         : std::ranges::count(image, i) == 0 && std::ranges::count(above, i) > 0;
  };
  std::vector<size_t> all;
  for (const std::string& name : names) {
    const size_t i = graph.find(name);
    require(matters(i), "do({}): {} depends on it", graph[i].name(),
            image.empty() ? "nothing" : "no image");
    require(image.empty() || !graph[i].is_latent(), "do({}): it is latent, no data say what it was",
            graph[i].name());
    require(std::ranges::count(all, i) == 0, "do({}) twice", graph[i].name());
    all.push_back(i);
  }
  for (size_t i = 0; names.empty() && i < graph.size(); ++i)
    if (matters(i) && (image.empty() || !graph[i].is_latent())) all.push_back(i);
  return all;
}

}  // namespace diffscm
