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

std::vector<ArmSummary> sample_quality(const Evaluator& evaluator, const Tensor& samples,
                                       const data::Dataset& train, const data::Dataset& test,
                                       uint64_t seed) {
  require_images(samples, "samples");
  const int64_t n = samples.dim(0);
  require(n <= train.size(),
          "{} samples cannot be compared with as many images of {}, which has {}", n, train.name,
          train.size());
  std::vector<int64_t> drawn, all(static_cast<size_t>(test.size()));
  EpochOrder order(train.size(), seed);
  for (int64_t i = 0; i < n; ++i) drawn.push_back(order.at(i));
  std::iota(all.begin(), all.end(), int64_t{0});
  const Judged real = judged(evaluator, test, all), floor = judged(evaluator, train, drawn);

  std::vector<ArmSummary> rows{row("samples", "Unguided samples", n),
                               row("sample-floor", "As many training images", n),
                               row("test-images", "The test images", test.size())};
  add(rows[0], set_metrics(evaluator.features(samples), real.features), n);
  add(rows[0], {{"sure", sure_share(evaluator.probabilities(samples))}}, n);
  add(rows[1], set_metrics(floor.features, real.features), n);
  add(rows[1], {{"sure", sure_share(floor.probabilities)}}, n);
  add(rows[2], {{"sure", sure_share(real.probabilities)}}, test.size());
  return rows;
}

}  // namespace diffscm
