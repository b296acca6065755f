#include "evaluation/scm/benchmark_definitions.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "causal/row_random.h"
#include "evaluation/metrics/realism.h"

namespace diffscm {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// numpy's mean and std (of the population).
MeanAndDeviation statistics(const std::vector<double>& values) {
  if (values.empty()) return {kNaN, kNaN};
  const auto n = static_cast<double>(values.size());
  double mean = 0, square = 0;
  for (const double x : values) mean += x / n;
  for (const double x : values) square += (x - mean) * (x - mean) / n;
  return {mean, std::sqrt(square)};
}

// A number's way into [-1, 1], by the range of the reference images, and its bins there.
class Scaling {
 public:
  explicit Scaling(const std::vector<double>& values)
      : low_(*std::ranges::min_element(values)), high_(*std::ranges::max_element(values)) {
    // The means of the values between neighbours of linspace(-1, 1, 10); numpy's digitize leaves
    // the largest value out.
    std::vector<double> sum(9, 0), count(9, 0);
    for (const double value : values) {
      const double x = normalised(value);
      const auto bin = static_cast<size_t>(std::floor((x + 1) / 2 * 9));
      if (bin >= 9) continue;
      sum[bin] += x;
      ++count[bin];
    }
    for (size_t b = 0; b < 9; ++b)
      if (count[b] > 0) means_.push_back(sum[b] / count[b]);
  }
  double normalised(double value) const {
    return high_ > low_ ? 2 * (value - low_) / (high_ - low_) - 1 : 0;
  }
  // numpy's searchsorted.
  int64_t bin(double normalised) const {
    return std::ranges::lower_bound(means_, normalised) - means_.begin();
  }
  // What their program makes of a predictor that reads `value` exactly: it takes the sigmoid of
  // what was trained to be in [-1, 1].
  double through_sigmoid(double value) const {
    return low_ + (1 / (1 + std::exp(-normalised(value))) + 1) / 2 * (high_ - low_);
  }

 private:
  double low_, high_;
  std::vector<double> means_;
};

// kl_divergence() of evaluation/metrics/minimality.py: the means stand for the logarithms of the
// standard deviations as well, and the sum is divided by the dimensions.
double their_divergence(std::span<const double> p, std::span<const double> q) {
  double kl = 0;
  for (size_t i = 0; i < p.size(); ++i)
    kl += q[i] - p[i] - 0.5 +
          0.5 * (std::exp(2 * p[i]) + (p[i] - q[i]) * (p[i] - q[i])) * std::exp(-2 * q[i]);
  return kl / static_cast<double>(p.size());
}

class Benchmark {
 public:
  Benchmark(const causal::Graph& graph, const ImageEvaluation& evaluation,
            const ImageReference& reference, int64_t batch, uint64_t seed)
      : graph_(graph), records_(evaluation.records), reference_(reference) {
    for (size_t k = 0; k < graph.size(); ++k) {
      const std::vector<double>& values = reference.values()[k].numbers;
      scaling_.emplace_back(values.empty() || graph[k].is_discrete() ? std::vector<double>{0, 1}
                                                                     : values);
    }
    for (int64_t begin = 0; begin < evaluation.rows; begin += batch) {
      batches_.push_back({begin, std::min(evaluation.rows, begin + batch)});
      causal::RandomStream random({seed, kernels::Purpose::order, 0xB47C},
                                  static_cast<uint64_t>(begin));
      drawn_.push_back(
          static_cast<size_t>(random.uniform() * static_cast<double>(records_.set.size())));
    }
  }

  BenchmarkScores scores() const {
    BenchmarkScores scores;
    const double padded = padding();
    scores.composition_1 = composition(records_.composition_1, padded);
    scores.composition_10 = composition(records_.composition_10, padded);
    for (size_t d = 0; d < records_.set.size(); ++d)
      for (size_t k = 0; k < graph_.size(); ++k)
        if (graph_[k].kind != causal::NodeKind::image && !graph_[k].is_latent())
          effectiveness(d, k, scores.effectiveness);
    minimality(scores);
    Matrix features;
    for (size_t b = 0; b < batches_.size(); ++b) {
      const Matrix& all = records_.answers[drawn_[b]].seen.features;
      for (int64_t row = batches_[b].first; row < batches_[b].second && row < all.rows; ++row) {
        Matrix one(1, all.columns);
        std::ranges::copy(all.row(row), one.values.begin());
        features.append(one);
      }
    }
    scores.frechet = reference_.realism(features);
    return scores;
  }

 private:
  // The share of a padded image that is not padding: digits of 28 x 28 stand in 32 x 32.
  double padding() const {
    for (const causal::Values& v : reference_.values())
      if (v.is_image() && v.images.dim(1) == 28) return 28.0 * 28 / (32 * 32);
    return 1;
  }

  static MeanAndDeviation composition(std::vector<double> distances, double share) {
    for (double& d : distances) d *= share;
    return statistics(distances);
  }

  double factual(size_t k, int64_t row) const {
    return records_.factual[k].numbers[static_cast<size_t>(row)];
  }
  double wanted(size_t d, size_t k, int64_t row) const {
    return records_.answers[d].values[k].numbers[static_cast<size_t>(row)];
  }

  // Values of do() are drawn from another bin than the factual one's: rows where ours are not do
  // not count.
  bool counts(size_t d, int64_t row) const {
    const size_t k = records_.set[d];
    if (graph_[k].is_discrete()) return true;
    const auto bin = [&](double value) { return scaling_[k].bin(scaling_[k].normalised(value)); };
    return bin(factual(k, row)) != bin(wanted(d, k, row));
  }

  // By the last reader that can tell: predictors before measurement, as there.
  double read(size_t d, size_t k, int64_t row) const {
    double value = kNaN;
    for (const auto& reader : records_.answers[d].read)
      if (const double x = reader[static_cast<size_t>(row)][k]; !std::isnan(x)) value = x;
    return value;
  }

  void effectiveness(size_t d, size_t k, std::vector<BenchmarkEffectiveness>& all) const {
    const bool binary = graph_[k].attribute.states.size() == 2;
    std::vector<double> by_batch;
    for (const auto& [begin, end] : batches_) {
      double sum = 0, count = 0, hits = 0, alarms = 0, misses = 0;
      for (int64_t row = begin; row < end; ++row) {
        double is = read(d, k, row);
        const double should = wanted(d, k, row);
        if (std::isnan(is) || !counts(d, row)) continue;
        ++count;
        if (graph_[k].is_discrete()) {
          sum += is == should;
          hits += is == 1 && should == 1;
          alarms += is == 1 && should == 0;
          misses += is == 0 && should == 1;
        } else {
          if (graph_[k].name() == "intensity") is = scaling_[k].through_sigmoid(is);
          sum += std::abs(is - should);
        }
      }
      if (count == 0) continue;
      const double f1 = hits > 0 ? 2 * hits / (2 * hits + alarms + misses) : 0;
      by_batch.push_back(binary ? f1 : sum / count);
    }
    if (!by_batch.empty())
      all.push_back({graph_[records_.set[d]].name(), graph_[k].name(),
                     binary                    ? "F1"
                     : graph_[k].is_discrete() ? "accuracy"
                                               : "MAE",
                     statistics(by_batch)});
  }

  // What a row keeps of its values: those of its own batch's attribute.
  struct Kept {
    size_t d;
    double factual, wanted;
  };
  double as_kept(size_t k, double value) const {
    return graph_[k].is_discrete() ? value : scaling_[k].normalised(value);
  }

  void minimality(BenchmarkScores& scores) const {
    const Matrix& real = records_.seen.latent.mean;
    std::vector<Kept> kept;
    for (size_t b = 0; b < batches_.size(); ++b)
      for (int64_t row = batches_[b].first; row < batches_[b].second; ++row) {
        const size_t d = drawn_[b], k = records_.set[d];
        kept.push_back({d, as_kept(k, factual(k, row)), as_kept(k, wanted(d, k, row))});
      }
    std::vector<double> all, target, before;
    for (int64_t row = 0; row < real.rows; ++row) {
      const Kept& own = kept[static_cast<size_t>(row)];
      if (!counts(own.d, row)) continue;
      const size_t k = records_.set[own.d];
      const auto same = [&](double a, double b) {
        return graph_[k].is_discrete() ? a == b : scaling_[k].bin(a) == scaling_[k].bin(b);
      };
      std::vector<double> to_target, to_before;
      for (int64_t r = 0; r < real.rows; ++r) {
        const double value = kept[static_cast<size_t>(r)].factual;  // of whatever attribute
        const double d = their_divergence(real.row(r), real.row(row));
        if (same(value, own.wanted)) to_target.push_back(d);
        if (same(value, own.factual)) to_before.push_back(d);
      }
      if (to_target.empty() || to_before.empty()) continue;
      const double divergence =
          their_divergence(records_.answers[own.d].seen.latent.mean.row(row), real.row(row));
      target.push_back(share_at_most(to_target, divergence));
      before.push_back(share_at_least(to_before, divergence));
      all.push_back(std::log(0.8 * std::exp(target.back()) + 0.2 * std::exp(before.back())));
    }
    scores.minimality = statistics(all);
    scores.p_target = statistics(target).mean;
    scores.p_factual = statistics(before).mean;
  }

  const causal::Graph& graph_;
  const ImageRecords& records_;
  const ImageReference& reference_;
  std::vector<Scaling> scaling_;  // by node
  std::vector<std::pair<int64_t, int64_t>> batches_;
  std::vector<size_t> drawn_;  // the intervention that each batch stands for
};

nlohmann::ordered_json number(double x) {
  return std::isfinite(x) ? nlohmann::ordered_json(x) : nlohmann::ordered_json();
}

nlohmann::ordered_json number(const MeanAndDeviation& x) {
  return {{"mean", number(x.mean)}, {"deviation", number(x.deviation)}};
}

}  // namespace

BenchmarkScores benchmark_definitions(const causal::Graph& graph, const ImageEvaluation& evaluation,
                                      const ImageReference& reference, int64_t batch,
                                      uint64_t seed) {
  return Benchmark(graph, evaluation, reference, batch, seed).scores();
}

std::vector<std::string> benchmark_notes() {
  return {
      "Composition is over digits padded from 28 x 28 to 32 x 32: 0.77 of ours.",
      "Effectiveness is averaged over batches, and its deviation is that of batches, not of "
      "images. "
      "It is read here by --judge, where given, else by measuring: their predictors are not here.",
      "The intensity goes through a sigmoid that its predictor was not trained with: a perfect one "
      "scores about 50 grey levels.",
      "Minimality weighs 0.8 and 0.2 where the paper of CLD has 1 and 1: its range is [0, 1], ours "
      "[0.69, 1.69].",
      "Its divergence takes the means of the VAE as the logarithms of its deviations too; the "
      "variances are never used. The reference is the test images, ours the training images.",
      "Each row keeps the value of the attribute that its own batch has set, and is compared with "
      "all rows: thicknesses with intensities and digits.",
      "Realism is their set, one random attribute per batch against the training images, but on "
      "the features of --oracle: Inception is not here.",
      "Drawn values are from another bin than the factual one; rows where ours are not are left "
      "out. Their draws have no seed."};
}

nlohmann::ordered_json to_json(const BenchmarkScores& s) {
  nlohmann::ordered_json effects = nlohmann::ordered_json::array();
  for (const BenchmarkEffectiveness& e : s.effectiveness)
    effects.push_back(
        {{"do", e.set}, {"node", e.node}, {"metric", e.metric}, {"value", number(e.value)}});
  return {{"composition_1", number(s.composition_1)},
          {"composition_10", number(s.composition_10)},
          {"effectiveness", effects},
          {"minimality", number(s.minimality)},
          {"p_target", number(s.p_target)},
          {"p_factual", number(s.p_factual)},
          {"frechet", number(s.frechet)}};
}

}  // namespace diffscm
