#include "training/noisy_batches.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

namespace diffscm {
namespace {

using Floats = std::vector<float>;

// Image i is filled with i / size, label i % 10.
data::Dataset small_dataset(int64_t size) {
  data::Dataset d;
  d.name = "small";
  d.height = d.width = 4;
  d.channels = 1;
  d.classes = 10;
  for (int64_t i = 0; i < size; ++i) {
    d.pixels.insert(d.pixels.end(), 16, static_cast<float>(i) / static_cast<float>(size));
    d.labels.push_back(i % 10);
  }
  return d;
}

class NoisyBatchesTest : public ::testing::Test {
 protected:
  NoisyBatches batches(int64_t batch, uint64_t seed) const {
    return {dataset_, schedule_, batch, seed, Target::cpu};
  }

  data::Dataset dataset_ = small_dataset(20);
  NoiseSchedule schedule_{ScheduleKind::linear, 1000};
};

TEST_F(NoisyBatchesTest, AreAFunctionOfSeedAndStep) {
  const NoisyBatches a = batches(7, 3), b = batches(7, 3), other = batches(7, 4);
  static_cast<void>(b.batch(11));  // steps may be asked for in any order
  for (const int64_t step : {5, 0, 2}) {
    const NoisyBatch x = a.batch(step), y = b.batch(step), z = other.batch(step);
    EXPECT_EQ(x.index, y.index);
    EXPECT_EQ(x.labels, y.labels);
    EXPECT_EQ(x.timesteps, y.timesteps);
    EXPECT_EQ(x.noise.to_vector(), y.noise.to_vector());
    EXPECT_EQ(x.x_t.to_vector(), y.x_t.to_vector());
    EXPECT_NE(x.index, z.index);
    EXPECT_NE(x.timesteps, z.timesteps);
    EXPECT_NE(x.noise.to_vector(), z.noise.to_vector());
  }
  EXPECT_NE(a.batch(0).noise.to_vector(), a.batch(1).noise.to_vector());
}

TEST_F(NoisyBatchesTest, EachEpochIsAFreshPermutation) {
  const NoisyBatches b = batches(7, 0);  // batches straddle epochs
  std::vector<int64_t> order;
  for (int64_t step = 0; order.size() < 60; ++step)
    for (const int64_t i : b.batch(step).index) order.push_back(i);
  std::set<std::vector<int64_t>> epochs;
  for (size_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<int64_t> e(order.begin() + static_cast<int64_t>(20 * epoch),
                           order.begin() + static_cast<int64_t>(20 * epoch + 20));
    epochs.insert(e);
    std::sort(e.begin(), e.end());
    for (int64_t i = 0; i < 20; ++i) EXPECT_EQ(e[static_cast<size_t>(i)], i) << "epoch " << epoch;
  }
  EXPECT_EQ(epochs.size(), 3u);
}

TEST_F(NoisyBatchesTest, ABatchMayBeLargerThanTheDataSet) {
  std::vector<int64_t> index = batches(50, 0).batch(0).index;
  ASSERT_EQ(index.size(), 50u);
  for (int64_t i = 0; i < 20; ++i) EXPECT_GE(std::count(index.begin(), index.end(), i), 2);
}

TEST_F(NoisyBatchesTest, TimestepsAreStratifiedAndShuffled) {
  const NoisyBatches b = batches(10, 0);
  std::set<std::vector<int>> orders;
  for (int64_t step = 0; step < 20; ++step) {
    const NoisyBatch batch = b.batch(step);
    std::vector<int> t = batch.timesteps, stratum;
    EXPECT_EQ(batch.t.to_vector(), Floats(t.begin(), t.end()));
    for (const int v : t) stratum.push_back(v / 100);
    orders.insert(stratum);
    std::sort(t.begin(), t.end());
    for (int k = 0; k < 10; ++k) {
      EXPECT_GE(t[static_cast<size_t>(k)], 100 * k);
      EXPECT_LT(t[static_cast<size_t>(k)], 100 * (k + 1));
    }
  }
  EXPECT_GT(orders.size(), 15u) << "a sample must not keep its stratum";
}

TEST_F(NoisyBatchesTest, EveryTimestepIsReachedEquallyOften) {
  const NoiseSchedule schedule(ScheduleKind::cosine, 4);
  const NoisyBatches b(dataset_, schedule, 5, 0, Target::cpu);
  std::vector<int> count(4);
  for (int64_t step = 0; step < 400; ++step)
    for (const int t : b.batch(step).timesteps) ++count.at(static_cast<size_t>(t));
  for (const int c : count) EXPECT_NEAR(c, 500, 60);
}

TEST_F(NoisyBatchesTest, ImagesAreMixedAsTheScheduleSays) {
  const NoisyBatch b = batches(20, 1).batch(3);
  ASSERT_EQ(b.x_t.shape(), Shape({20, 4, 4, 1}));
  const Floats x_t = b.x_t.to_vector(), noise = b.noise.to_vector();
  for (size_t i = 0; i < 20; ++i) {
    const double alpha_bar = schedule_.alpha_bar(b.timesteps[i]);
    const double clean = static_cast<double>(b.index[i]) / 20;
    EXPECT_EQ(b.labels[i], b.index[i] % 10);
    for (size_t e = 16 * i; e < 16 * (i + 1); ++e)
      EXPECT_NEAR(x_t[e], std::sqrt(alpha_bar) * clean + std::sqrt(1 - alpha_bar) * noise[e], 1e-6);
  }
}

TEST_F(NoisyBatchesTest, NoiseIsStandardNormalAndNeverRepeats) {
  const NoisyBatches b = batches(20, 1);
  double sum = 0, square = 0;
  std::set<float> firsts;
  for (int64_t step = 0; step < 50; ++step) {
    const Floats noise = b.batch(step).noise.to_vector();
    for (const float v : noise) {
      sum += v;
      square += double{v} * v;
    }
    for (size_t i = 0; i < 20; ++i) firsts.insert(noise[16 * i]);
  }
  EXPECT_NEAR(sum / 16000, 0, 0.04);
  EXPECT_NEAR(square / 16000, 1, 0.06);
  EXPECT_GT(firsts.size(), 990u);
}

TEST_F(NoisyBatchesTest, DataWithoutLabelsGivesNone) {
  dataset_.labels.clear();
  dataset_.classes = 0;
  EXPECT_TRUE(batches(4, 0).batch(0).labels.empty());
}

TEST_F(NoisyBatchesTest, NothingToDrawFromIsAnError) {
  EXPECT_THROW(batches(0, 0), Error);
  EXPECT_THROW(batches(-1, 0), Error);
  dataset_ = small_dataset(0);
  EXPECT_THROW(batches(4, 0), Error);
}

TEST_F(NoisyBatchesTest, DiffusedImagesDependOnSeedAndIndexAlone) {
  const Tensor x0 = Tensor::zeros({3, 4, 4, 1});
  const Floats together = diffuse(x0, {4, 9, 2}, schedule_, 500, 7).to_vector();
  const Floats alone = diffuse(x0.slice(0, 1), {9}, schedule_, 500, 7).to_vector();
  EXPECT_EQ(alone, Floats(together.begin() + 16, together.begin() + 32));
  EXPECT_NE(diffuse(x0, {4, 9, 2}, schedule_, 500, 8).to_vector(), together);
  EXPECT_NE(diffuse(x0, {4, 9, 2}, schedule_, 501, 7).to_vector(), together);
}

// Both have the same noise: the difference is that of the images.
TEST_F(NoisyBatchesTest, ShiftsMoveImagesByWholePixelsAndRepeatTheEdge) {
  data::Dataset one;
  one.name = "one";
  one.height = 5;
  one.width = 6;
  one.channels = 1;
  for (int i = 0; i < 30; ++i) one.pixels.push_back(static_cast<float>(i) / 15 - 1);
  const NoisyBatches plain(one, schedule_, 1, 3, Target::cpu);
  const NoisyBatches shifted(one, schedule_, 1, 3, Target::cpu, {.shift = 2});
  std::set<std::pair<int, int>> seen;
  for (int64_t step = 0; step < 200; ++step) {
    const NoisyBatch there = shifted.batch(step);
    const auto signal = static_cast<float>(std::sqrt(schedule_.alpha_bar(there.timesteps[0])));
    const Floats x = there.x_t.to_vector(), noise = plain.batch(step).x_t.to_vector();
    bool found = false;
    for (int dy = -2; dy <= 2 && !found; ++dy)
      for (int dx = -2; dx <= 2 && !found; ++dx) {
        found = true;
        for (int i = 0; i < 5; ++i)
          for (int j = 0; j < 6; ++j) {
            const int from = std::clamp(i - dy, 0, 4) * 6 + std::clamp(j - dx, 0, 5);
            const float moved_by = signal * (one.pixels[from] - one.pixels[i * 6 + j]);
            found = found && std::abs(x[i * 6 + j] - noise[i * 6 + j] - moved_by) < 0.01f * signal;
          }
        if (found) seen.insert({dy, dx});
      }
    ASSERT_TRUE(found) << "step " << step;
  }
  EXPECT_EQ(seen.size(), 25u);
}

TEST_F(NoisyBatchesTest, MinSnrWeightsAreOneWhereNoiseIsStrong) {
  const std::vector<int> t{0, 200, 400, 999};
  const Floats w = min_snr_weights(schedule_, t, Target::cpu).to_vector();
  for (size_t i = 0; i < t.size(); ++i) {
    const double a = schedule_.alpha_bar(t[i]);
    EXPECT_NEAR(w[i], std::min(1.0, 5 * (1 - a) / a), 1e-6);
  }
  EXPECT_LT(w[0], 0.01f);
  EXPECT_EQ(w[3], 1);
}

}  // namespace
}  // namespace diffscm
