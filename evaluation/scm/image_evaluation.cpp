#include "evaluation/scm/image_evaluation.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>

#include "diffusion/batch.h"
#include "evaluation/scm/nodes_to_set.h"
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

double agreement(const causal::Node& node, double read, double wanted) {
  if (std::isnan(read)) return kNaN;
  return node.is_discrete() ? static_cast<double>(read == wanted) : std::abs(read - wanted);
}

double mean_of(const std::vector<double>& values) {
  Mean mean;
  for (const double x : values) mean.add(x);
  return mean.value();
}

// The readings of one attribute by one reader over all rows.
struct Readings {
  Mean score, floor, unchanged;
};

// What all readers say, and of an unknown image (empty) nothing.
std::vector<std::vector<double>> read_all(std::span<const ImageReader> readers, size_t nodes,
                                          int64_t i, std::span<const float> image) {
  std::vector<std::vector<double>> read;
  for (const ImageReader& reader : readers)
    read.push_back(image.empty() ? std::vector<double>(nodes, kNaN) : reader.read(i, image));
  return read;
}

// CLD of each row's image, between the reference images where `node` is what it was and those where
// it is what it was set to. NaN: there are none.
double latent_divergence(const ImageReference& reference, size_t node, const Gaussians& factual,
                         const Gaussians& image, const std::vector<double>& was,
                         const std::vector<double>& is) {
  Mean mean;
  for (int64_t row = 0; row < image.mean.rows; ++row) {
    const std::vector<double> all =
        divergences(reference.seen().latent, factual.mean.row(row), factual.log_variance.row(row));
    const auto of = [&](double value) {
      std::vector<double> some;
      for (const size_t r : reference.members(node, value)) some.push_back(all[r]);
      return some;
    };
    const auto target = of(is[static_cast<size_t>(row)]),
               before = of(was[static_cast<size_t>(row)]);
    if (target.empty() || before.empty()) continue;
    const double divergence = gaussian_kl(image.mean.row(row), image.log_variance.row(row),
                                          factual.mean.row(row), factual.log_variance.row(row));
    mean.add(diffscm::latent_divergence(share_at_most(target, divergence),
                                        share_at_least(before, divergence)));
  }
  return mean.value();
}

class Evaluator {
 public:
  Evaluator(const causal::StructuralCausalModel& model, const data::Dataset& dataset,
            std::span<const int64_t> index, const ImageReference& reference,
            std::span<const ImageReader> readers, const ImageEvaluationOptions& options)
      : model_(model),
        graph_(model.graph()),
        nodes_(graph_, dataset),
        image_(nodes_.image()),
        index_(index),
        reference_(reference),
        readers_(readers),
        options_(options),
        set_(nodes_to_set(graph_, options.interventions)) {}

  ImageEvaluation run() {
    const int64_t total = std::ssize(index_);
    const NodeValues all = nodes_.values(index_);
    std::vector<std::vector<double>> targets;
    for (const size_t i : set_)
      targets.push_back(draw_targets(graph_[i], i, all[i], options_.seed));
    distances_.resize(set_.size());
    readings_.resize(set_.size(),
                     std::vector(readers_.size(), std::vector<Readings>(graph_.size())));
    records_.set = set_;
    records_.factual = all;
    records_.factual[image_].images = {};
    records_.answers.resize(set_.size());
    for (ImageRecords::Answer& answer : records_.answers) answer.read.resize(readers_.size());
    const int64_t cycled = std::min(total, options_.cycled_rows);
    parts_ = (total + options_.batch - 1) / options_.batch * std::ssize(set_) +
             10 * ((cycled + options_.batch - 1) / options_.batch);
    for (int64_t begin = 0; begin < total; begin += options_.batch)
      batch(all, targets, begin, std::min(total, begin + options_.batch), cycled);

    ImageEvaluation result;
    result.rows = total;
    result.composition_1 = mean_of(records_.composition_1);
    result.composition_10 = mean_of(records_.composition_10);
    result.seconds_per_image = seconds_ / static_cast<double>(total * std::ssize(set_));
    for (size_t d = 0; d < set_.size(); ++d) result.interventions.push_back(score(d));
    result.records = std::move(records_);
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
    std::vector<std::vector<std::vector<double>>> read_before;
    for (int64_t row = 0; row < end - begin; ++row)
      read_before.push_back(read_all(readers_, graph_.size(), rows.index[static_cast<size_t>(row)],
                                     image_of(factual[image_].images, row)));
    records_.seen.append(reference_.judges().see(factual[image_].images));
    for (size_t d = 0; d < set_.size(); ++d) {
      const double before = seconds();
      const std::vector<double> wanted(targets[d].begin() + begin, targets[d].begin() + end);
      const causal::Intervention intervention{
          {set_[d], {[&](const Values&) { return Values(wanted); }, "drawn", false}}};
      const NodeValues answer = model_.counterfactual(factual, noise, intervention).value;
      seconds_ += seconds() - before + abduction;
      std::vector<float> truths;
      for (int64_t row = 0; row < end - begin; ++row) {
        const std::vector<float> truth = judge(d, rows.index[static_cast<size_t>(row)], factual,
                                               answer, row, read_before[static_cast<size_t>(row)]);
        truths.insert(truths.end(), truth.begin(), truth.end());
      }
      record(d, answer, truths);
      report();
    }
    if (begin < cycled) cycle(factual, rows, std::min(end, cycled) - begin);
  }

  void record(size_t d, const NodeValues& answer, const std::vector<float>& truths) {
    ImageRecords::Answer& to = records_.answers[d];
    to.values.resize(graph_.size());
    for (size_t k = 0; k < graph_.size(); ++k)
      to.values[k].numbers.insert(to.values[k].numbers.end(), answer[k].numbers.begin(),
                                  answer[k].numbers.end());
    const Tensor& images = answer[image_].images;
    to.seen.append(reference_.judges().see(images));
    if (std::ssize(truths) == images.numel())
      to.truth.append(reference_.judges().see(Tensor::from(truths, images.shape())));
  }

  // Returns the true image, or nothing.
  std::vector<float> judge(size_t d, int64_t i, const NodeValues& factual, const NodeValues& answer,
                           int64_t row, const std::vector<std::vector<double>>& read_before) {
    const auto was = image_of(factual[image_].images, row),
               is = image_of(answer[image_].images, row);
    std::vector<float> truth = nodes_.true_image(i, answer, row);
    Sums& sums = distances_[d];
    sums.factual.add(l1_grey_levels(is, was));
    if (!truth.empty()) {
      sums.truth.add(l1_grey_levels(is, truth));
      sums.nothing.add(l1_grey_levels(was, truth));
      sums.random.add(l1_grey_levels(reference_.nearest(answer, row), truth));
    }
    const auto read = read_all(readers_, graph_.size(), i, is),
               read_truth = read_all(readers_, graph_.size(), i, truth);
    const auto place = static_cast<size_t>(row);
    for (size_t r = 0; r < readers_.size(); ++r) {
      records_.answers[d].read[r].push_back(read[r]);
      for (size_t k = 0; k < graph_.size(); ++k) {
        if (answer[k].numbers.empty()) continue;
        const double wanted = answer[k].numbers[place], before = factual[k].numbers[place];
        Readings& readings = readings_[d][r][k];
        readings.score.add(agreement(graph_[k], read[r][k], wanted));
        readings.unchanged.add(agreement(graph_[k], read_before[r][k], wanted));
        readings.floor.add(truth.empty() ? agreement(graph_[k], read_before[r][k], before)
                                         : agreement(graph_[k], read_truth[r][k], wanted));
      }
    }
    return truth;
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
        (round == 1 ? records_.composition_1 : records_.composition_10)
            .push_back(
                l1_grey_levels(image_of(image.images, row), image_of(chosen[image_].images, row)));
      report();
    }
  }

  ImageInterventionScore score(size_t d) const {
    const Sums& sums = distances_[d];
    ImageInterventionScore result;
    result.node = graph_[set_[d]].name();
    result.distance = {sums.factual.value(), sums.truth.value(), sums.nothing.value(),
                       sums.random.value()};
    const auto moved = graph_.descendants(std::vector<size_t>{set_[d]});
    for (size_t k = 0; k < graph_.size(); ++k)
      for (size_t r = 0; r < readers_.size(); ++r) {
        const Readings& readings = readings_[d][r][k];
        if (k == image_ || graph_[k].is_latent() || std::isnan(readings.score.value())) continue;
        result.attributes.push_back({.node = graph_[k].name(),
                                     .reader = readers_[r].name,
                                     .category = graph_[k].is_discrete(),
                                     .set = k == set_[d],
                                     .moved = std::ranges::count(moved, k) > 0,
                                     .score = readings.score.value(),
                                     .floor = readings.floor.value(),
                                     .unchanged = readings.unchanged.value()});
      }
    const ImageRecords::Answer& answer = records_.answers[d];
    const auto divergence = [&](const SeenImages& images) {
      return latent_divergence(reference_, set_[d], records_.seen.latent, images.latent,
                               records_.factual[set_[d]].numbers, answer.values[set_[d]].numbers);
    };
    const bool known = answer.truth.features.rows == answer.seen.features.rows &&
                       answer.truth.latent.mean.rows == answer.seen.latent.mean.rows;
    result.cld = {divergence(answer.seen), known ? divergence(answer.truth) : kNaN};
    result.realism = {reference_.realism(answer.seen.features),
                      reference_.realism((known ? answer.truth : records_.seen).features)};
    return result;
  }

  const causal::StructuralCausalModel& model_;
  const causal::Graph& graph_;
  causal::DatasetNodes nodes_;
  size_t image_;
  std::span<const int64_t> index_;
  const ImageReference& reference_;
  std::span<const ImageReader> readers_;
  const ImageEvaluationOptions& options_;
  std::vector<size_t> set_;
  std::vector<Sums> distances_;                               // by node that is set
  std::vector<std::vector<std::vector<Readings>>> readings_;  // and by reader and node that is read
  ImageRecords records_;
  double seconds_ = 0;
  int64_t done_ = 0, parts_ = 0;
};

nlohmann::ordered_json number(double x) {
  return std::isfinite(x) ? nlohmann::ordered_json(x) : nlohmann::ordered_json();
}

}  // namespace

ImageEvaluation evaluate_images(const causal::StructuralCausalModel& model,
                                const data::Dataset& dataset, std::span<const int64_t> index,
                                const ImageReference& reference,
                                std::span<const ImageReader> readers,
                                const ImageEvaluationOptions& options) {
  require(!index.empty(), "there are no images to judge by");
  return Evaluator(model, dataset, index, reference, readers, options).run();
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
                            {"read_by", a.reader},
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
                                     {"cld", number(s.cld.value)},
                                     {"cld_of_the_truth", number(s.cld.floor)},
                                     {"frechet", number(s.realism.value)},
                                     {"frechet_floor", number(s.realism.floor)},
                                     {"attributes", attributes}});
  }
  return json;
}

}  // namespace diffscm
