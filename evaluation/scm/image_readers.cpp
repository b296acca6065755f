#include "evaluation/scm/image_readers.h"

#include <algorithm>
#include <limits>

#include "engine/io/file.h"
#include "evaluation/metrics/fits_images.h"
#include "kernels/error.h"

namespace diffscm {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

double most_probable(const ClassProbabilities& p) {
  return static_cast<double>(std::ranges::max_element(p[0]) - p[0].begin());
}

}  // namespace

AttributeReader world_reader(const causal::Graph& graph, const data::Dataset& dataset,
                             const causal::DatasetNodes& nodes) {
  return [&](int64_t i, std::span<const float> image) {
    std::vector<double> read(graph.size(), kNaN);
    data::Assignment measured;
    if (dataset.world != nullptr) try {
        measured = dataset.world->measure(i, image);
      } catch (const Error&) {
        // This world has no way to measure: a judge must read.
      }
    for (size_t k = 0; k < graph.size(); ++k)
      if (const data::Attribute* a = nodes.attribute(k); a != nullptr)
        if (const auto found = measured.find(a->name); found != measured.end())
          read[k] = nodes.to_node(k, found->second);
    return read;
  };
}

template <class Network>
std::shared_ptr<const Network> NodeJudge::load(const std::string& file, Target target) {
  LoadedModel<Network> loaded = load_model<Network>(file, target);
  info_ = std::move(loaded.info);
  return std::make_shared<const Network>(std::move(loaded.model));
}

NodeJudge::NodeJudge(const causal::Graph& graph, size_t node, const std::string& file,
                     const data::Dataset& dataset, Target target)
    : node_(node) {
  const causal::Node& judged = graph[node];
  const std::string kind = read_model_info(file).kind, name = io::show(judged.name());
  const auto states = std::ssize(judged.attribute.states);
  int64_t classes = 0;
  const auto describe = [&](const auto& config, int64_t count) {
    classes = count;
    require_fits_images(config, dataset, fmt::format("{} judges {}: it", io::show(file), name));
  };
  if (kind == Oracle::kKind) {
    const auto oracle = load<Oracle>(file, target);
    describe(oracle->config(), oracle->config().classes);
    read_ = [oracle](const Tensor& x) { return most_probable(oracle->probabilities(x)); };
  } else if (kind == Classifier::kKind) {
    const auto classifier = load<Classifier>(file, target);
    describe(classifier->config(), classifier->config().classes);
    read_ = [classifier](const Tensor& x) {
      return most_probable(classifier->probabilities(x, 0));
    };
  } else {
    require(kind == Regressor::kKind,
            "{} judges {}: it is a {}, give an oracle, a classifier or a regressor", io::show(file),
            name, kind);
    const auto regressor = load<Regressor>(file, target);
    const std::string& learnt = regressor->config().attribute.name;
    require(learnt == judged.name() || learnt == judged.column, "{} judges {}: it reads {}",
            io::show(file), name, io::show(learnt));
    describe(regressor->config(), 0);
    read_ = [regressor](const Tensor& x) { return regressor->values(x, 0)[0]; };
  }
  require(classes == states, "{} judges {}: it reads {} states, the graph has {}", io::show(file),
          name, classes, states);
}

AttributeReader judge_reader(std::vector<NodeJudge> judges, size_t nodes,
                             const data::Dataset& dataset, Target target) {
  const Shape shape{1, dataset.height, dataset.width, dataset.channels};
  return [judges = std::move(judges), nodes, shape, target](int64_t, std::span<const float> image) {
    std::vector<double> read(nodes, kNaN);
    const Tensor x = Tensor::from(image, shape, target);
    for (const NodeJudge& judge : judges) read[judge.node()] = judge.read(x);
    return read;
  };
}

}  // namespace diffscm
