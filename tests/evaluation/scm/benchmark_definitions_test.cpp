#include "evaluation/scm/benchmark_definitions.h"

#include <cmath>
#include <numbers>

#include "tests/causal/scm_testing.h"

namespace diffscm {
namespace {

using causal::NodeKind;
using causal::Values;

// intensity, glasses -> image of 28 x 28.
causal::Graph graph() {
  causal::Node glasses = causal::number("glasses");
  glasses.kind = NodeKind::binary;
  glasses.attribute.states = {"no", "yes"};
  causal::Node image = causal::number("image", {"intensity", "glasses"});
  image.kind = NodeKind::image;
  return causal::Graph({causal::number("intensity"), glasses, image}, "");
}

data::Dataset dataset(int64_t rows) {
  data::Dataset set;
  set.height = set.width = 28;
  set.channels = 1;
  set.pixels.assign(static_cast<size_t>(rows * 28 * 28), 0);
  std::vector<double> intensity, glasses;
  for (int64_t i = 0; i < rows; ++i) {
    intensity.push_back(100 + 100 * static_cast<double>(i) / static_cast<double>(rows - 1));
    glasses.push_back(static_cast<double>(i % 2));
  }
  set.add({.name = "intensity"}, intensity);
  set.add({.name = "glasses", .states = {"no", "yes"}}, glasses);
  return set;
}

Gaussians gaussians(const std::vector<double>& means) {
  Gaussians g{Matrix(std::ssize(means), 1), Matrix(std::ssize(means), 1)};
  g.mean.values = means;
  return g;
}

// do(glasses) on four rows, read perfectly but for the last.
ImageEvaluation answers() {
  ImageEvaluation e;
  e.rows = 4;
  e.composition_1 = 2;
  ImageRecords& r = e.records;
  r.set = {1};
  r.factual = {Values(std::vector<double>{100, 120, 180, 200}),
               Values(std::vector<double>{0, 1, 0, 1}), Values()};
  r.composition_1 = {1, 3};
  r.composition_10 = {4, 4};
  r.seen.latent = gaussians({0, 0.5, -0.5, 1});
  ImageRecords::Answer answer;
  answer.values = {r.factual[0], Values(std::vector<double>{1, 0, 1, 0}), Values()};
  answer.read = {{{100, 1, 0}, {120, 0, 0}, {180, 1, 0}, {200, 1, 0}}};
  answer.seen.latent = gaussians({0.25, 0.25, 0.25, 0.25});
  r.answers = {answer};
  return e;
}

class Benchmark : public ::testing::Test {
 protected:
  BenchmarkScores scores(const ImageEvaluation& evaluation, int64_t batch) {
    return benchmark_definitions(graph_, evaluation, reference_, batch, 0);
  }
  const causal::Graph graph_ = graph();
  const ImageReference reference_{graph_, dataset(101), {}};
};

TEST_F(Benchmark, CompositionIsOfDigitsInABlackFrame) {
  const BenchmarkScores s = scores(answers(), 4);
  EXPECT_NEAR(s.composition_1.mean, 2 * 784.0 / 1024, 1e-12);
  EXPECT_NEAR(s.composition_1.deviation, 784.0 / 1024, 1e-12);
  EXPECT_NEAR(s.composition_10.deviation, 0, 1e-12);
}

TEST_F(Benchmark, EffectivenessIsOfBatches) {
  const BenchmarkScores one = scores(answers(), 4), two = scores(answers(), 2);
  ASSERT_EQ(one.effectiveness.size(), 2u);
  // Two hits, one false alarm.
  EXPECT_STREQ(one.effectiveness[1].metric, "F1");
  EXPECT_NEAR(one.effectiveness[1].value.mean, 0.8, 1e-12);
  // A hit and a true "no"; a hit and a false alarm.
  EXPECT_NEAR(two.effectiveness[1].value.mean, (1 + 2.0 / 3) / 2, 1e-12);
  EXPECT_NEAR(two.effectiveness[1].value.deviation, 1.0 / 6, 1e-12);
  // A perfect reading of 100 (-1), 120 (-0.6), 180 (0.6), 200 (1) after their sigmoid.
  double error = 0;
  for (const double x : {-1.0, -0.6, 0.6, 1.0})
    error += 50 * std::abs(1 / (1 + std::exp(-x)) - x) / 4;
  EXPECT_STREQ(one.effectiveness[0].metric, "MAE");
  EXPECT_NEAR(one.effectiveness[0].value.mean, error, 1e-9);
}

// minimality() of their evaluation/metrics/minimality.py on the same numbers.
TEST_F(Benchmark, MinimalityUsesTheMeansForBothMoments) {
  const std::vector<double> real{0, 0.5, -0.5, 1};
  const std::vector<int> was{0, 1, 0, 1};
  const auto kl = [](double q, double p) {
    return -0.5 + p - q +
           0.5 * (std::pow(std::exp(q), 2) + std::pow(q - p, 2)) / std::pow(std::exp(p), 2);
  };
  double mean = 0;
  for (size_t i = 0; i < 4; ++i) {
    const double div = kl(0.25, real[i]);
    double p_target = 0, p_factual = 0;
    for (size_t r = 0; r < 4; ++r) {
      if (was[r] != was[i]) p_target += (kl(real[r], real[i]) <= div) / 2.0;
      if (was[r] == was[i]) p_factual += (kl(real[r], real[i]) >= div) / 2.0;
    }
    mean += std::log(0.8 * std::exp(p_target) + 0.2 * std::exp(p_factual)) / 4;
  }
  EXPECT_NEAR(scores(answers(), 4).minimality.mean, mean, 1e-12);
  EXPECT_TRUE(std::isnan(scores(answers(), 4).frechet));
}

// Values of do() are drawn from another bin: of a number that stays in its bin no row counts.
TEST_F(Benchmark, RowsThatStayInTheirBinAreLeftOut) {
  ImageEvaluation e = answers();
  e.records.set = {0};
  e.records.answers[0].values = {Values(std::vector<double>{101, 121, 181, 120}),
                                 e.records.factual[1], Values()};
  const BenchmarkScores s = scores(e, 4);
  // Only the last row counts, which reads "yes" and should.
  ASSERT_EQ(s.effectiveness.size(), 2u);
  EXPECT_NEAR(s.effectiveness[1].value.mean, 1, 1e-12);
  EXPECT_NEAR(s.effectiveness[0].value.mean, std::abs(150 + 50 / (1 + std::exp(-1.0)) - 120), 1e-9);
}

}  // namespace
}  // namespace diffscm
