#include "evaluation/sample_quality.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "training/epoch_order.h"

namespace diffscm {
namespace {

// A data set a batch at a time: it need not fit into the device's memory at once.
template <class Work>
void each_batch(const data::Dataset& dataset, const std::vector<int64_t>& index, Work&& work) {
  in_batches(std::ssize(index), 500, [&](int64_t begin, int64_t end) {
    work(dataset.images(
        std::span(index).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin))));
  });
}

struct Judged {
  Matrix features;
  ClassProbabilities probabilities;
};

Judged judged(const Evaluator& evaluator, const data::Dataset& dataset,
              const std::vector<int64_t>& index) {
  Judged all;
  each_batch(dataset, index, [&](const Tensor& images) {
    all.features.append(evaluator.features(images));
    for (auto& row : evaluator.probabilities(images)) all.probabilities.push_back(std::move(row));
  });
  return all;
}

ArmSummary row(const char* name, const char* title, int64_t count) {
  return {{name, title, {{"images", count}}}, {}};
}

void add(ArmSummary& summary, const Metrics& values, int64_t count) {
  for (const auto& [name, value] : values)
    summary.metrics[metric(name).name] = {value, std::nan(""), std::nan(""), count};
}

}  // namespace

double sure_share(const ClassProbabilities& probabilities) {
  const auto sure = std::count_if(
      probabilities.begin(), probabilities.end(),
      [](const std::vector<float>& p) { return p[static_cast<size_t>(argmax(p))] > kSure; });
  return static_cast<double>(sure) / static_cast<double>(probabilities.size());
}

std::vector<ArmSummary> sample_quality(const Evaluator& evaluator, std::span<const SampleSet> sets,
                                       const data::Dataset& train, const data::Dataset& test,
                                       uint64_t seed) {
  require(!sets.empty(), "no samples to judge");
  for (const SampleSet& set : sets) {
    require_images(set.images, set.name);
    require(set.images.dim(0) == sets[0].images.dim(0), "{} and {}: not as many", set.name,
            sets[0].name);
  }
  const int64_t n = sets[0].images.dim(0);
  require(n <= train.size(),
          "{} samples cannot be compared with as many images of {}, which has {}", n, train.name,
          train.size());
  std::vector<int64_t> drawn, all(static_cast<size_t>(test.size()));
  EpochOrder order(train.size(), seed);
  for (int64_t i = 0; i < n; ++i) drawn.push_back(order.at(i));
  std::iota(all.begin(), all.end(), int64_t{0});
  const Judged real = judged(evaluator, test, all), floor = judged(evaluator, train, drawn);

  std::vector<ArmSummary> rows;
  const auto judge = [&](const char* name, const char* title, const Matrix& features,
                         const ClassProbabilities& probabilities) {
    rows.push_back(row(name, title, n));
    add(rows.back(), set_metrics(features, real.features), n);
    add(rows.back(), {{"sure", sure_share(probabilities)}}, n);
  };
  for (const SampleSet& set : sets)
    judge(set.name, set.title, evaluator.features(set.images), evaluator.probabilities(set.images));
  judge("sample-floor", "As many training images", floor.features, floor.probabilities);
  rows.push_back(row("test-images", "The test images", test.size()));
  add(rows.back(), {{"sure", sure_share(real.probabilities)}}, test.size());
  return rows;
}

}  // namespace diffscm
