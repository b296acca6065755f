#include "causal/dataset_nodes.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "data/match_states.h"
#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::causal {
bool has_image(const Graph& graph) {
  return std::ranges::any_of(graph.nodes(),
                             [](const Node& node) { return node.kind == NodeKind::image; });
}

DatasetNodes::DatasetNodes(const Graph& graph, const data::Dataset& dataset)
    : graph_(graph), dataset_(dataset) {
  std::vector<std::string> names;
  for (const data::Attribute& attribute : dataset.attributes) names.push_back(attribute.name);
  bool found = false;
  for (size_t i = 0; i < graph.size(); ++i) {
    const Node& node = graph[i];
    Match match;
    if (node.kind == NodeKind::image) {
      require(!found, "the graph has two images, {} and {}: the data have one",
              io::show(graph[image_].name()), io::show(node.name()));
      found = true;
      image_ = i;
    } else if (!node.is_latent()) {
      auto name = std::ranges::find(names, node.column);
      if (name == names.end()) name = std::ranges::find(names, node.name());
      require(name != names.end(), "{} does not say {} of its images: it has {}", dataset.name,
              io::show(node.column),
              names.empty() ? "no attributes" : fmt::format("{}", fmt::join(names, ", ")));
      match = {true, static_cast<size_t>(name - names.begin()), {}};
      const data::Attribute& attribute = dataset.attributes[match.attribute];
      require(attribute.is_category() == node.is_discrete(), "node {} is {}, in {} it {} states",
              io::show(node.name()), name_of(node.kind), dataset.name,
              attribute.is_category() ? "has" : "has no");
      if (attribute.is_category())
        match.state =
            data::match_states(node.attribute, "node " + io::show(node.name()), attribute);
    }
    matches_.push_back(std::move(match));
  }
  require(found, "the graph has no image: give its data as a table");
}

NodeValues DatasetNodes::values(std::span<const int64_t> index) const {
  NodeValues all;
  for (size_t i = 0; i < graph_.size(); ++i) {
    if (i == image_) {
      all.emplace_back(dataset_.images(index));
      continue;
    }
    Values values;
    if (matches_[i].found)
      for (const int64_t row : index)
        values.numbers.push_back(
            to_node(i, dataset_.values[matches_[i].attribute].at(static_cast<size_t>(row))));
    all.push_back(std::move(values));
  }
  return all;
}

double DatasetNodes::to_node(size_t node, double value) const {
  const std::vector<double>& state = matches_[node].state;
  return state.empty() ? value : state.at(static_cast<size_t>(value));
}

data::Assignment DatasetNodes::assignment(const NodeValues& values, int64_t row) const {
  const std::vector<size_t> measured = graph_.descendants(std::vector<size_t>{image_});
  data::Assignment set;
  for (size_t i = 0; i < graph_.size(); ++i) {
    const Match& match = matches_[i];
    if (!match.found || std::ranges::count(measured, i) > 0) continue;
    double value = values[i].numbers.at(static_cast<size_t>(row));
    if (!match.state.empty()) {
      const auto state = std::ranges::find(match.state, value);
      if (state == match.state.end()) continue;  // the data have no such state
      value = static_cast<double>(state - match.state.begin());
    }
    set[dataset_.attributes[match.attribute].name] = value;
  }
  return set;
}

const data::Attribute* DatasetNodes::attribute(size_t node) const {
  return matches_[node].found ? &dataset_.attributes[matches_[node].attribute] : nullptr;
}

std::vector<float> DatasetNodes::true_image(int64_t i, const NodeValues& values,
                                            int64_t row) const {
  const data::World* world = dataset_.world.get();
  const data::Assignment set = assignment(values, row);
  const auto is_outside = [&](const data::Attribute& a) {
    const auto value = set.find(a.name);
    return value != set.end() && (value->second < a.low || value->second > a.high);
  };
  if (world == nullptr || std::ranges::any_of(dataset_.attributes, is_outside) ||
      !world->knows_image(i, set))
    return {};
  return world->image(i, set);
}

}  // namespace diffscm::causal
