#include "causal/counterfactual.h"

#include <gtest/gtest.h>

#include <map>

#include "diffusion/sampler.h"
#include "tests/diffusion/analytic.h"

namespace diffscm {
namespace {

using analytic::Mixture;
using analytic::worst_grey_levels;

// Two classes that differ in their first half; the second half is style, the same in both.
class TwoClasses : public testing::Test {
 protected:
  static constexpr size_t kElements = 16;
  const NoiseSchedule schedule{ScheduleKind::linear, 1000};
  const Chain chain{schedule, 100};
  Mixture world;
  Tensor factual;

  TwoClasses() {
    world.variance.assign(kElements, 0.04);
    for (const double m : {-0.5, 0.5}) {
      std::vector<double> mean(kElements, 0.0);
      std::fill(mean.begin(), mean.begin() + kElements / 2, m);
      world.mean.push_back(mean);
    }
    // Factual images of class 0.
    std::vector<float> values = initial_noise({6, 4, 4, 1}, {}, 4).to_vector();
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(world.mean[0][i % kElements] + 0.2 * values[i]);
    factual = Tensor::from(values, {6, 4, 4, 1});
  }
  EpsilonModel epsilon() const { return epsilon_of(world, schedule); }
  Guidance to_class_1() const {
    return {.gradients = {{posterior_gradient(world, schedule, std::vector<int64_t>(6, 1))}}};
  }
  double share_of_class_1(const Tensor& x) const {
    double hits = 0;
    for (int64_t n = 0; n < x.dim(0); ++n)
      hits += world.posterior(x.slice(n, n + 1).to_vector(), 1 - 1e-9)[1] > 0.5;
    return hits / static_cast<double>(x.dim(0));
  }
};

TEST_F(TwoClasses, ScaleZeroIsTheFactual) {
  const Counterfactual c = counterfactual({epsilon()}, chain, factual,
                                          {.abduction = {.tolerance = 2e-3}, .scales = {0}});
  EXPECT_EQ(c.abduction.at(0).converged, std::vector<uint8_t>(6, 1));
  EXPECT_LT(worst_grey_levels(c.reconstruction.at(0), factual), 0.05);
  EXPECT_EQ(c.counterfactual.at(0).to_vector(), c.reconstruction.at(0).to_vector());
}

TEST_F(TwoClasses, TheInterventionChangesTheClassAndKeepsTheStyle) {
  const Guidance by_condition{.conditions = {{epsilon_of(world, schedule, 1)}}};
  std::vector<Tensor> images;
  for (const Guidance& action : {to_class_1(), by_condition}) {
    const Counterfactual c = counterfactual({epsilon(), action}, chain, factual,
                                            {.abduction = {.tolerance = 2e-3}, .scales = {0, 1}});
    EXPECT_EQ(share_of_class_1(factual), 0.0);
    EXPECT_EQ(share_of_class_1(c.counterfactual[0]), 0.0);
    EXPECT_EQ(share_of_class_1(c.counterfactual[1]), 1.0);
    const std::vector<float> before = factual.to_vector(), after = c.counterfactual[1].to_vector();
    for (size_t i = 0; i < before.size(); ++i)
      if (i % kElements >= kElements / 2) {
        EXPECT_NEAR(before[i], after[i], 0.01) << i;
      }
    images.push_back(c.counterfactual[1]);
  }
  // With the exact posterior the two arms are the same image.
  EXPECT_LT(worst_grey_levels(images[0], images[1]), 0.01);
}

TEST_F(TwoClasses, TheObserverSeesEveryPass) {
  std::map<Pass, std::vector<int>> levels;
  std::map<Pass, std::vector<float>> last;
  const Counterfactual c =
      counterfactual({epsilon(), to_class_1()}, chain, factual,
                     {.abduction = {.levels = 5, .tolerance = 2e-3}, .scales = {0.5, 0, 2}}, {},
                     [&](const Pass& pass, int level, const Tensor& x) {
                       levels[pass].push_back(level);
                       last[pass] = x.to_vector();
                     });
  const std::vector<int> up{1, 2, 3, 4, 5}, down{4, 3, 2, 1, 0};
  const Pass encoded{Pass::abduction, 0}, decoded{Pass::reconstruction, 0},
      half{Pass::prediction, 0}, twice{Pass::prediction, 2};
  EXPECT_EQ(levels, (std::map<Pass, std::vector<int>>{
                        {encoded, up}, {decoded, down}, {half, down}, {twice, down}}));
  EXPECT_EQ(last[encoded], c.abduction.at(0).latent.to_vector());
  EXPECT_EQ(last[decoded], c.reconstruction.at(0).to_vector());
  EXPECT_EQ(last[half], c.counterfactual[0].to_vector());
  EXPECT_EQ(last[twice], c.counterfactual[2].to_vector());
}

// Abduction with the factual class, prediction with the counterfactual one.
TEST_F(TwoClasses, FactualEncoding) {
  const auto network = conditional_network(world, schedule);
  const std::vector<float> factual_class{0, 0, 0, 0, 0, 0}, mixed{1, 0, 1, 0, 0, 1};
  const EpsilonModel encode = analytic::told(network, factual_class);
  const Guidance action{.conditions = {{analytic::told(network, mixed)}}};
  const Counterfactual c = counterfactual({encode, action}, chain, factual,
                                          {.abduction = {.tolerance = 2e-3}, .scales = {1, 3}});
  EXPECT_EQ(c.abduction.at(0).converged, std::vector<uint8_t>(6, 1));
  EXPECT_LT(worst_grey_levels(c.reconstruction.at(0), factual), 0.05);
  const std::vector<float> before = factual.to_vector(), after = c.counterfactual[0].to_vector();
  for (size_t i = 0; i < before.size(); ++i) {
    // The two classes are the same Gaussian with its first half moved by 1.
    const bool moved = mixed[i / kElements] == 1 && i % kElements < kElements / 2;
    EXPECT_NEAR(after[i], before[i] + (moved ? 1 : 0), 5e-3) << i;
  }
  // do() of the factual value returns the factual at every scale.
  for (const int64_t n : {1, 3, 4})
    for (const Tensor& image : c.counterfactual)
      EXPECT_LT(analytic::grey_levels(image, factual, n), 0.05) << n;
  EXPECT_GT(analytic::grey_levels(c.counterfactual[1], c.counterfactual[0], 0), 10);
}

// The anti-causal form of the same: gradients of the factual class guide the abduction as those of
// the counterfactual one guide the prediction, at each scale.
TEST_F(TwoClasses, FactualEncodingByAPredictor) {
  const std::vector<int64_t> before(6, 0), mixed{1, 0, 1, 0, 0, 1};
  const auto to = [&](const std::vector<int64_t>& classes) {
    return Guidance{.gradients = {{posterior_gradient(world, schedule, classes)}}};
  };
  const Action action{epsilon(), to(mixed), to(before)};
  std::map<Pass, int> passes;
  int last = 0;
  const Counterfactual c = counterfactual(
      action, chain, factual, {.abduction = {.tolerance = 2e-3}, .scales = {1, 3}},
      [&](int done, int total) {
        EXPECT_EQ(total, 6 * 100);
        last = done;
      },
      [&](const Pass& pass, int, const Tensor&) { ++passes[pass]; });
  EXPECT_EQ(last, 600);
  EXPECT_EQ(passes.size(), 6u);
  ASSERT_EQ(c.abduction.size(), 2u);
  EXPECT_EQ(c.source(1), 1u);
  // With the exact posterior s = 1 is what a network told the classes answers.
  const auto network = conditional_network(world, schedule);
  const Counterfactual told =
      counterfactual({analytic::told(network, {0, 0, 0, 0, 0, 0}),
                      {.conditions = {{analytic::told(network, {1, 0, 1, 0, 0, 1})}}}},
                     chain, factual, {.abduction = {.tolerance = 2e-3}});
  EXPECT_LT(worst_grey_levels(c.counterfactual[0], told.counterfactual[0]), 0.1);
  for (size_t s = 0; s < 2; ++s) {
    EXPECT_LT(worst_grey_levels(c.reconstruction[s], factual), 0.05) << s;
    // do() of the factual value returns the factual at every scale.
    for (const int64_t n : {1, 3, 4})
      EXPECT_LT(analytic::grey_levels(c.counterfactual[s], factual, n), 0.05) << s << ' ' << n;
    EXPECT_GT(analytic::grey_levels(c.counterfactual[s], factual, 0), 10) << s;
  }
  EXPECT_GT(worst_grey_levels(c.abduction[0].latent, c.abduction[1].latent), 1);
}

TEST_F(TwoClasses, IsPureAndCountsItsLevels) {
  const std::vector<float> before = factual.to_vector();
  int last = 0;
  const Progress progress = [&](int done, int total) {
    EXPECT_EQ(total, 80 * 4);
    EXPECT_EQ(done, last + 1);
    last = done;
  };
  const CounterfactualOptions options{.abduction = {.levels = 80}, .scales = {0.5, 0, 2}};
  const Counterfactual a =
      counterfactual({epsilon(), to_class_1()}, chain, factual, options, progress);
  EXPECT_EQ(last, 80 * 4);
  const Counterfactual b = counterfactual({epsilon(), to_class_1()}, chain, factual, options);
  ASSERT_EQ(a.counterfactual.size(), 3u);
  for (size_t i = 0; i < 3; ++i)
    EXPECT_EQ(a.counterfactual[i].to_vector(), b.counterfactual[i].to_vector());
  EXPECT_EQ(factual.to_vector(), before);
}

TEST_F(TwoClasses, StopsWhenProgressThrows) {
  const Progress stop = [](int done, int) {
    if (done == 150) throw std::runtime_error("stop");
  };
  EXPECT_THROW(counterfactual({epsilon(), to_class_1()}, chain, factual, {}, stop),
               std::runtime_error);
}

TEST_F(TwoClasses, Refuses) {
  const auto run = [&](const CounterfactualOptions& o) {
    counterfactual({epsilon(), to_class_1()}, chain, factual, o);
  };
  EXPECT_THROW(run({.scales = {-0.1}}), Error);
  EXPECT_THROW(run({.scales = {1, std::nan("")}}), Error);
  EXPECT_THROW(run({.abduction = {.levels = 101}}), Error);
  EXPECT_THROW(run({.threshold = {kernels::Threshold::clip, 2}}), Error);
  EXPECT_THROW(counterfactual({epsilon()}, chain, factual, {.scales = {1}}), Error);
}

}  // namespace
}  // namespace diffscm
