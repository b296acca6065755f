#include "evaluation/scm/image_evaluation.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>

#include "diffusion/batch.h"
#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm {
namespace {

using causal::NodeValues;
using causal::Values;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::span<const float> image_of(const Tensor& images, int64_t row) {
  const int64_t pixels = images.numel() / images.dim(0);
  return {images.data() + row * pixels, static_cast<size_t>(pixels)};
}

// Of what is not NaN.
class Mean {
 public:
  void add(double x) {
    if (std::isnan(x)) return;
    sum_ += x;
    ++count_;
  }
  double value() const { return count_ > 0 ? sum_ / static_cast<double>(count_) : kNaN; }

 private:
  double sum_ = 0;
  int64_t count_ = 0;
};

// The rows of a reference set by their attributes.
class Nearest {
 public:
  Nearest(const causal::Graph& graph, const data::Dataset& dataset, size_t image)
      : graph_(graph), image_(image) {
    std::vector<int64_t> all(static_cast<size_t>(std::min<int64_t>(dataset.size(), 5000)));
    std::iota(all.begin(), all.end(), int64_t{0});
    values_ = causal::DatasetNodes(graph, dataset).values(all);
    for (size_t i = 0; i < graph.size(); ++i) {
      double mean = 0, square = 0;
      for (const double x : values_[i].numbers) mean += x / static_cast<double>(all.size());
      for (const double x : values_[i].numbers) square += (x - mean) * (x - mean);
      scale_.push_back(std::sqrt(square / static_cast<double>(all.size())) + 1e-12);
    }
  }
  // The image of the row whose attributes are nearest to those of row `row`.
  std::span<const float> image(const NodeValues& wanted, int64_t row) const {
    const Tensor& images = values_[image_].images;
    double least = std::numeric_limits<double>::infinity();
    int64_t best = 0;
    for (int64_t r = 0; r < images.dim(0); ++r) {
      double distance = 0;
      for (size_t i = 0; i < graph_.size(); ++i) {
        if (values_[i].numbers.empty()) continue;
        const double a = values_[i].numbers[static_cast<size_t>(r)],
                     b = wanted[i].numbers[static_cast<size_t>(row)];
        distance += graph_[i].is_discrete() ? 100.0 * (a != b) : std::pow((a - b) / scale_[i], 2);
      }
      if (distance < least) {
        least = distance;
        best = r;
      }
    }
    return image_of(images, best);
  }

 private:
  const causal::Graph& graph_;
  size_t image_;
  NodeValues values_;
  std::vector<double> scale_;  // by node
};

// What do() sets the node to, by row.
std::vector<double> draw_targets(const causal::Node& node, size_t i, const Values& factual,
                                 uint64_t seed) {
  const kernels::RandomKey key{seed, kernels::Purpose::order, static_cast<uint32_t>(i)};
  std::vector<double> targets;
  const auto rows = factual.numbers.size();
  for (size_t row = 0; row < rows; ++row) {
    causal::RandomStream random(key, row);
    if (node.is_discrete()) {
      const auto states = static_cast<double>(node.attribute.states.size());
      const double other = std::floor(random.uniform() * (states - 1));
      targets.push_back(other + (other >= factual.numbers[row] ? 1 : 0));
    } else {
      targets.push_back(
          factual.numbers[static_cast<size_t>(random.uniform() * static_cast<double>(rows))]);
    }
  }
  return targets;
}

std::vector<size_t> nodes_to_set(const causal::Graph& graph, size_t image,
                                 const std::vector<std::string>& names) {
  const auto ancestors = graph.ancestors(std::vector<size_t>{image});
  std::vector<size_t> all;
  if (names.empty()) {
    for (const size_t i : ancestors)
      if (!graph[i].is_latent() && i != image) all.push_back(i);
  } else {
    for (const std::string& name : names) {
      all.push_back(graph.find(name));
      require(std::ranges::count(ancestors, all.back()) > 0 && all.back() != image,
              "do({}) cannot reach the image", name);
    }
  }
  return all;
}

double agreement(const causal::Node& node, double read, double wanted) {
  if (std::isnan(read)) return kNaN;
  return node.is_discrete() ? static_cast<double>(read == wanted) : std::abs(read - wanted);
}

// The readings of one attribute over all rows.
struct Readings {
  Mean score, floor, unchanged;
};

class Evaluator {
 public:
  Evaluator(const causal::StructuralCausalModel& model, const data::Dataset& dataset,
            std::span<const int64_t> index, const data::Dataset& reference,
            const AttributeReader& reader, const ImageEvaluationOptions& options)
      : model_(model),
        graph_(model.graph()),
        nodes_(graph_, dataset),
        image_(nodes_.image()),
        index_(index),
        nearest_(graph_, reference, image_),
        reader_(reader),
        options_(options),
        set_(nodes_to_set(graph_, image_, options.interventions)) {}

  ImageEvaluation run() {
    const int64_t total = std::ssize(index_);
    const NodeValues all = nodes_.values(index_);
    std::vector<std::vector<double>> targets;
    for (const size_t i : set_)
      targets.push_back(draw_targets(graph_[i], i, all[i], options_.seed));
    distances_.resize(set_.size());
    readings_.resize(set_.size(), std::vector<Readings>(graph_.size()));
    const int64_t cycled = std::min(total, options_.cycled_rows);
    parts_ = (total + options_.batch - 1) / options_.batch * std::ssize(set_) +
             10 * ((cycled + options_.batch - 1) / options_.batch);
    for (int64_t begin = 0; begin < total; begin += options_.batch)
      batch(all, targets, begin, std::min(total, begin + options_.batch), cycled);

    ImageEvaluation result;
    result.rows = total;
    result.composition_1 = composition_1_.value();
    result.composition_10 = composition_10_.value();
    result.seconds_per_image = seconds_ / static_cast<double>(total * std::ssize(set_));
    for (size_t d = 0; d < set_.size(); ++d) result.interventions.push_back(score(d));
    return result;
  }

 private:
  struct Sums {
    Mean factual, truth, nothing, random;
  };

  void report() {
    ++done_;
    if (options_.progress) options_.progress(done_, parts_);
  }

  void batch(const NodeValues& all, const std::vector<std::vector<double>>& targets, int64_t begin,
             int64_t end, int64_t cycled) {
    std::vector<int64_t> places(static_cast<size_t>(end - begin));
    std::iota(places.begin(), places.end(), begin);
    const NodeValues factual = causal::select_rows(all, places);
    const causal::Rows rows{options_.seed, {index_.begin() + begin, index_.begin() + end}};
    const auto start = std::chrono::steady_clock::now();
    const auto seconds = [&] {
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    const NodeValues noise = model_.abduct(factual, rows);
    const double abduction = seconds();
    std::vector<std::vector<double>> read_before;
    for (int64_t row = 0; row < end - begin; ++row)
      read_before.push_back(
          reader_(rows.index[static_cast<size_t>(row)], image_of(factual[image_].images, row)));
    for (size_t d = 0; d < set_.size(); ++d) {
      const double before = seconds();
      const std::vector<double> wanted(targets[d].begin() + begin, targets[d].begin() + end);
      const causal::Intervention intervention{
          {set_[d], {[&](const Values&) { return Values(wanted); }, "drawn", false}}};
      const NodeValues answer = model_.counterfactual(factual, noise, intervention).value;
      seconds_ += seconds() - before + abduction;
      for (int64_t row = 0; row < end - begin; ++row)
        judge(d, rows.index[static_cast<size_t>(row)], factual, answer, row,
              read_before[static_cast<size_t>(row)]);
      report();
    }
    if (begin < cycled) cycle(factual, rows, std::min(end, cycled) - begin);
  }

  void judge(size_t d, int64_t i, const NodeValues& factual, const NodeValues& answer, int64_t row,
             const std::vector<double>& read_before) {
    const auto was = image_of(factual[image_].images, row),
               is = image_of(answer[image_].images, row);
    const std::vector<float> truth = nodes_.true_image(i, answer, row);
    Sums& sums = distances_[d];
    sums.factual.add(l1_grey_levels(is, was));
    if (!truth.empty()) {
      sums.truth.add(l1_grey_levels(is, truth));
      sums.nothing.add(l1_grey_levels(was, truth));
      sums.random.add(l1_grey_levels(nearest_.image(answer, row), truth));
    }
    const auto read = reader_(i, is),
               read_truth = truth.empty() ? std::vector<double>() : reader_(i, truth);
    const auto place = static_cast<size_t>(row);
    for (size_t k = 0; k < graph_.size(); ++k) {
      if (answer[k].numbers.empty()) continue;
      const double wanted = answer[k].numbers[place], before = factual[k].numbers[place];
      Readings& readings = readings_[d][k];
      readings.score.add(agreement(graph_[k], read[k], wanted));
      readings.unchanged.add(agreement(graph_[k], read_before[k], wanted));
      readings.floor.add(truth.empty() ? agreement(graph_[k], read_before[k], before)
                                       : agreement(graph_[k], read_truth[k], wanted));
    }
  }

  // Ten times there and back under the factual parents, through the mechanism: the model itself
  // would know that nothing has changed.
  void cycle(const NodeValues& factual, const causal::Rows& rows, int64_t count) {
    std::vector<int64_t> first(static_cast<size_t>(count));
    std::iota(first.begin(), first.end(), int64_t{0});
    const NodeValues chosen = causal::select_rows(factual, first);
    const causal::Rows which{rows.seed, {rows.index.begin(), rows.index.begin() + count}};
    const auto parents = model_.parent_values(image_, chosen);
    const causal::Mechanism& mechanism = model_.mechanism(image_);
    Values image = chosen[image_];
    for (int round = 1; round <= 10; ++round) {
      const Values noise = mechanism.abduct(
          image, parents, model_.random(image_, kernels::Purpose::abduction, which));
      image = mechanism.predict(noise, parents);
      for (int64_t row = 0; row < count && (round == 1 || round == 10); ++row)
        (round == 1 ? composition_1_ : composition_10_)
            .add(l1_grey_levels(image_of(image.images, row), image_of(chosen[image_].images, row)));
      report();
    }
  }

  ImageInterventionScore score(size_t d) const {
    const Sums& sums = distances_[d];
    ImageInterventionScore result{.node = graph_[set_[d]].name(),
                                  .distance = {sums.factual.value(), sums.truth.value(),
                                               sums.nothing.value(), sums.random.value()},
                                  .attributes = {}};
    const auto moved = graph_.descendants(std::vector<size_t>{set_[d]});
    for (size_t k = 0; k < graph_.size(); ++k) {
      if (k == image_ || graph_[k].is_latent()) continue;
      const Readings& r = readings_[d][k];
      result.attributes.push_back({.node = graph_[k].name(),
                                   .category = graph_[k].is_discrete(),
                                   .set = k == set_[d],
                                   .moved = std::ranges::count(moved, k) > 0,
                                   .score = r.score.value(),
                                   .floor = r.floor.value(),
                                   .unchanged = r.unchanged.value()});
    }
    return result;
  }

  const causal::StructuralCausalModel& model_;
  const causal::Graph& graph_;
  causal::DatasetNodes nodes_;
  size_t image_;
  std::span<const int64_t> index_;
  Nearest nearest_;
  const AttributeReader& reader_;
  const ImageEvaluationOptions& options_;
  std::vector<size_t> set_;
  std::vector<Sums> distances_;                  // by node that is set
  std::vector<std::vector<Readings>> readings_;  // and by node that is read
  Mean composition_1_, composition_10_;
  double seconds_ = 0;
  int64_t done_ = 0, parts_ = 0;
};

nlohmann::ordered_json number(double x) {
  return std::isfinite(x) ? nlohmann::ordered_json(x) : nlohmann::ordered_json();
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

AttributeReader either(AttributeReader first, AttributeReader second) {
  return [first = std::move(first), second = std::move(second)](int64_t i,
                                                                std::span<const float> image) {
    std::vector<double> read = first(i, image);
    if (std::ranges::none_of(read, [](double x) { return std::isnan(x); })) return read;
    const std::vector<double> other = second(i, image);
    for (size_t k = 0; k < read.size(); ++k)
      if (std::isnan(read[k])) read[k] = other[k];
    return read;
  };
}

ImageEvaluation evaluate_images(const causal::StructuralCausalModel& model,
                                const data::Dataset& dataset, std::span<const int64_t> index,
                                const data::Dataset& reference, const AttributeReader& reader,
                                const ImageEvaluationOptions& options) {
  require(!index.empty(), "there are no images to judge by");
  return Evaluator(model, dataset, index, reference, reader, options).run();
}

nlohmann::ordered_json to_json(const ImageEvaluation& e) {
  nlohmann::ordered_json json = {{"rows", e.rows},
                                 {"composition_1", number(e.composition_1)},
                                 {"composition_10", number(e.composition_10)},
                                 {"seconds_per_image", number(e.seconds_per_image)},
                                 {"interventions", nlohmann::ordered_json::array()}};
  for (const ImageInterventionScore& s : e.interventions) {
    nlohmann::ordered_json attributes = nlohmann::ordered_json::array();
    for (const AttributeScore& a : s.attributes)
      attributes.push_back({{"node", a.node},
                            {"measure", a.category ? "accuracy" : "mean absolute error"},
                            {"set", a.set},
                            {"moved", a.moved},
                            {"value", number(a.score)},
                            {"floor", number(a.floor)},
                            {"unchanged_image", number(a.unchanged)}});
    json["interventions"].push_back({{"node", s.node},
                                     {"l1_factual", number(s.distance.factual)},
                                     {"l1_truth", number(s.distance.truth)},
                                     {"l1_truth_of_doing_nothing", number(s.distance.nothing)},
                                     {"l1_truth_of_random_image", number(s.distance.random)},
                                     {"attributes", attributes}});
  }
  return json;
}

}  // namespace diffscm
