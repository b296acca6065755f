#include "evaluation/linear_probe.h"

#include <gtest/gtest.h>

#include <cmath>

#include "diffusion/sampler.h"
#include "kernels/error.h"

namespace diffscm {
namespace {

constexpr int64_t kRows = 120;

Tensor noise(int64_t columns, uint64_t seed) {
  return initial_noise({kRows, columns}, {}, seed, Target::cpu);
}

std::vector<double> column(const Tensor& x, int64_t c) {
  std::vector<double> values;
  for (int64_t i = 0; i < x.dim(0); ++i) values.push_back(x.data()[i * x.dim(1) + c]);
  return values;
}

// Every row left out in turn, by plain normal equations in the two unknowns of one feature.
double r2_of_one_feature(const std::vector<double>& x, const std::vector<double>& y,
                         double penalty) {
  double error = 0, nothing = 0;
  const auto n = static_cast<double>(x.size() - 1);
  for (size_t out = 0; out < x.size(); ++out) {
    double mx = 0, my = 0, xx = 0, xy = 0;
    for (size_t i = 0; i < x.size(); ++i)
      if (i != out) mx += x[i] / n, my += y[i] / n;
    for (size_t i = 0; i < x.size(); ++i)
      if (i != out) xx += (x[i] - mx) * (x[i] - mx), xy += (x[i] - mx) * (y[i] - my);
    const double predicted = my + xy / (xx + penalty) * (x[out] - mx);
    error += (y[out] - predicted) * (y[out] - predicted);
    nothing += (y[out] - my) * (y[out] - my);
  }
  return 1 - error / nothing;
}

TEST(LinearProbe, LeavesEveryRowOutInTurn) {
  const Tensor x = noise(1, 1);
  const std::vector<double> feature = column(x, 0), more = column(noise(1, 2), 0);
  std::vector<double> target(feature.size());
  double square = 0, mean = 0;
  for (size_t i = 0; i < target.size(); ++i) {
    target[i] = 3 + 0.5 * feature[i] + more[i];
    mean += feature[i] / kRows;
  }
  for (const double f : feature) square += (f - mean) * (f - mean) / kRows;
  double best = -1;
  for (const double factor : {1e-3, 1e-2, 1e-1, 1.0, 1e1})
    best = std::max(best, r2_of_one_feature(feature, target, factor * square));
  EXPECT_GT(best, 0.05);
  EXPECT_LT(best, 0.5);
  EXPECT_NEAR(LinearProbe({&x, 1}).r2(target), best, 1e-5);
}

TEST(LinearProbe, ReadsWhatIsThereAndNothingElse) {
  const std::vector<Tensor> features{noise(300, 3), noise(30, 4)};  // more columns than rows
  const LinearProbe wide(features), narrow({&features[1], 1});
  const std::vector<double> here = column(features[1], 7), elsewhere = column(noise(1, 5), 0);
  EXPECT_GT(narrow.r2(here), 0.999);
  EXPECT_LT(wide.r2(elsewhere), 0.1);
  EXPECT_LT(narrow.r2(elsewhere), 0.1);
  EXPECT_TRUE(std::isnan(narrow.r2(std::vector<double>(kRows, 2.0))));
  std::vector<double> thirds, coin;
  for (size_t i = 0; i < here.size(); ++i) {
    thirds.push_back(here[i] < -0.4 ? 0 : here[i] < 0.4 ? 1 : 2);
    coin.push_back(elsewhere[i] > 0);
  }
  EXPECT_GT(narrow.accuracy(thirds, 3), 0.6);  // the middle one is not linear
  EXPECT_LT(narrow.accuracy(coin, 2), 0.65);
}

TEST(LinearProbe, Refuses) {
  const Tensor few({5, 3}), other({kRows - 1, 2});
  const std::vector<Tensor> uneven{noise(2, 1), other};
  EXPECT_THROW(LinearProbe({&few, 1}), Error);
  EXPECT_THROW(LinearProbe{uneven}, Error);
  EXPECT_THROW(LinearProbe(std::span<const Tensor>()), Error);
  std::vector<float> values(kRows, 1.0f);
  values[3] = NAN;
  const Tensor broken = Tensor::from(values, {kRows, 1});
  EXPECT_THROW(LinearProbe({&broken, 1}), Error);
  const Tensor fine = noise(2, 1);
  EXPECT_THROW(LinearProbe({&fine, 1}).r2(std::vector<double>(3)), Error);
}

}  // namespace
}  // namespace diffscm
