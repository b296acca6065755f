#include "training/noise_level_errors.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/memory.h"
#include "tests/models/tiny_models.h"

namespace diffscm {
namespace {

data::Dataset brightness(int64_t images) {
  data::Dataset d;
  d.name = "brightness";
  d.height = d.width = 8;
  d.channels = 1;
  std::vector<double> values;
  for (int64_t i = 0; i < images; ++i) {
    values.push_back(2.5 + 0.01 * static_cast<double>(i % 97));
    d.pixels.insert(d.pixels.end(), 64, static_cast<float>(values.back() - 3));
  }
  d.add({.name = "thickness"}, values);
  return d;
}

TEST(NoiseLevelErrors, AreTheRootMeanSquareOfTheFirstImages) {
  const data::Dataset d = brightness(130);  // more than one batch
  const NoiseSchedule schedule(ScheduleKind::linear, 1000);
  Regressor regressor(testing::tiny_regressor_config(), 1);
  testing::randomise(regressor);
  const auto errors = noise_level_errors(regressor, d, schedule, 120, 3, /*seed=*/4, Target::cpu);
  ASSERT_EQ(errors.size(), 3u);
  std::vector<int64_t> index(120);
  for (size_t i = 0; i < index.size(); ++i) index[i] = static_cast<int64_t>(i);
  for (size_t level = 0; level < 3; ++level) {
    const int t = errors[level].timestep;
    EXPECT_EQ(t, level == 0 ? 0 : level == 1 ? 499 : 999);
    const std::vector<double> f =
        regressor.values(diffuse(d.images(index), index, schedule, t, 4), t);
    double squares = 0;
    for (size_t i = 0; i < f.size(); ++i) squares += std::pow(f[i] - d.values[0][i], 2);
    EXPECT_NEAR(errors[level].rms, std::sqrt(squares / 120) / 0.5, 1e-5);  // deviation 0.5
  }
}

TEST(NoiseLevelErrors, TakeTheMemoryOfABatch) {
  const data::Dataset d = brightness(64);
  const NoiseSchedule schedule(ScheduleKind::linear, 1000);
  Regressor regressor(testing::tiny_regressor_config(), 1);
  testing::randomise(regressor);
  const auto errors = [&](int64_t batch) {
    return noise_level_errors(regressor, d, schedule, 64, 2, /*seed=*/4, Target::cpu, batch);
  };
  const auto peak = [&](int64_t batch) {
    const int64_t before = memory_statistics(Target::cpu).in_use_bytes;
    reset_peak_memory(Target::cpu);
    errors(batch);
    return memory_statistics(Target::cpu).peak_bytes - before;
  };
  peak(1);  // packs the weights
  EXPECT_LT(peak(1), peak(64) / 8);
  for (size_t level = 0; level < 2; ++level)
    EXPECT_NEAR(errors(5)[level].rms, errors(64)[level].rms, 1e-5);
}

TEST(NoiseLevelErrors, NeedTheAttribute) {
  data::Dataset d = brightness(2);
  d.attributes[0].name = "width";
  const Regressor regressor(testing::tiny_regressor_config(), 1);
  EXPECT_THROW(noise_level_errors(regressor, d, {ScheduleKind::linear, 1000}, 2, 2, 0, Target::cpu),
               Error);
}

}  // namespace
}  // namespace diffscm
