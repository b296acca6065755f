// The evaluator on tiny networks: the same numbers as the metrics one by one, whatever the batch;
// one line for whatever does not fit.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "evaluation/metrics/evaluator.h"
#include "evaluation/metrics/fidelity.h"
#include "evaluation/metrics/interpretability.h"
#include "evaluation/metrics/realism.h"
#include "evaluation/sample_quality.h"
#include "tests/engine/io_testing.h"

namespace diffscm {
namespace {

using testing::expect_error;
using testing::TemporaryFolder;
using Labels = std::vector<int64_t>;

template <class Model>
std::filesystem::path write(const std::filesystem::path& path,
                            const typename Model::Config& config) {
  Model model(config, 3);
  ModelInfo info;
  info.kind = Model::kKind;
  info.config = config;
  info.diffusion = info.data = info.training = nlohmann::json::object();
  write_model(path, info, state_dict(model));
  return path;
}

class EvaluatorTest : public ::testing::Test {
 protected:
  EvaluatorTest() {
    dataset_.name = "waves";
    dataset_.height = dataset_.width = 8;
    dataset_.channels = 1;
    dataset_.classes = 3;
    for (int i = 0; i < 30; ++i) {
      dataset_.labels.push_back(i % 3);
      for (int p = 0; p < 64; ++p)
        dataset_.pixels.push_back(std::sin(static_cast<float>(i + p * (1 + i % 3))));
    }
  }

  EvaluatorFiles files(int64_t vae_size = 8, int64_t autoencoder_classes = 3,
                       int64_t oracle_classes = 3) const {
    return {
        write<Vae>(folder_ / "vae.safetensors",
                   {.image_size = vae_size, .in_channels = 1, .channels = {8}, .latent = 3}),
        write<Autoencoders>(folder_ / "ae.safetensors",
                            {.image_size = 8, .in_channels = 1, .classes = autoencoder_classes}),
        write<Oracle>(folder_ / "oracle.safetensors", {.image_size = 8,
                                                       .in_channels = 1,
                                                       .classes = oracle_classes,
                                                       .channels = {8, 16},
                                                       .features = 5})};
  }
  Tensor images(Labels index) const { return dataset_.images(index); }

  TemporaryFolder folder_;
  data::Dataset dataset_;
};

TEST_F(EvaluatorTest, GivesWhatTheMetricsGiveOneByOne) {
  Evaluator evaluator(files(), dataset_, Target::cpu);
  EXPECT_EQ(evaluator.classes(), 3);
  ASSERT_EQ(evaluator.models().size(), 3u);
  EXPECT_EQ(evaluator.models()[0]->kind, "vae");
  evaluator.set_guide([](const Tensor& x) {
    return ClassProbabilities(static_cast<size_t>(x.dim(0)), {0.1f, 0.2f, 0.7f});
  });
  const Labels from{0, 1, 2}, to{2, 2, 0};
  const Tensor factual = images({0, 1, 2}), other = images({5, 8, 9}), truth = images({2, 2, 0});
  const auto m = evaluator.score(factual, other, from, to, truth);
  const auto l1 = l1_distance(factual, other), t = l1_distance(other, truth);
  const auto im = interpretability(evaluator.autoencoders(), other, from, to);
  const auto p = evaluator.oracle().probabilities(other);
  const CldReference reference(evaluator.vae(), dataset_, 0, Target::cpu);
  const auto cld = reference.score(posteriors(evaluator.vae(), factual),
                                   posteriors(evaluator.vae(), other), from, to);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(m[i].at("l1"), l1[i]);
    EXPECT_EQ(m[i].at("truth_l1"), t[i]);
    EXPECT_EQ(m[i].at("im1"), im[i].im1);
    EXPECT_EQ(m[i].at("im2"), 100 * im[i].im2);
    EXPECT_EQ(m[i].at("cld"), cld[i].value);
    EXPECT_EQ(m[i].at("oracle_p_target"), p[i][static_cast<size_t>(to[i])]);
    EXPECT_EQ(m[i].at("guide_flip"), i < 2 ? 1 : 0);
    EXPECT_EQ(m[i].at("disagree"), m[i].at("guide_flip") == 1 && m[i].at("oracle_flip") == 0);
    EXPECT_EQ(m[i].count("seconds"), 0u);  // which only the method knows

    const auto row = static_cast<int64_t>(i);
    const Metrics alone = evaluator.score(factual.slice(row, row + 1).reshape({8, 8, 1}),
                                          other.slice(row, row + 1), from[i], to[i]);
    EXPECT_NEAR(alone.at("cld"), m[i].at("cld"), 1e-5);
    EXPECT_NEAR(alone.at("im1"), m[i].at("im1"), 1e-5);
    EXPECT_EQ(alone.count("truth_l1"), 0u);
  }
}

TEST_F(EvaluatorTest, AnUnchangedImageScoresLogOnePlusE) {
  const Evaluator evaluator(files(), dataset_, Target::cpu);
  const Tensor x = images({0, 4, 11});
  for (const Metrics& m : evaluator.score(x, x, Labels{0, 1, 2}, Labels{1, 2, 0})) {
    EXPECT_NEAR(m.at("cld"), std::log(1 + std::exp(1.0)), 1e-12);
    EXPECT_EQ(m.at("l1"), 0);
    EXPECT_EQ(m.at("l0"), 0);
    EXPECT_EQ(m.count("guide_flip"), 0u);
    EXPECT_EQ(m.count("disagree"), 0u);
  }
}

TEST_F(EvaluatorTest, SetMetricsUseTheOraclesFeatures) {
  const Evaluator evaluator(files(), dataset_, Target::cpu);
  const Matrix a = evaluator.features(images({0, 1, 2, 3, 4, 5, 6})),
               b = evaluator.features(images({7, 8, 9, 10, 11, 12}));
  EXPECT_EQ(a.rows, 7);
  EXPECT_EQ(a.columns, 5);
  const Metrics m = set_metrics(a, b);
  EXPECT_EQ(m.at("frechet"), frechet_distance(a, b));
  const double scale = unit_scale(b);
  EXPECT_EQ(m.at("mmd"), 100 * kernel_mmd(scaled(a, scale), scaled(b, scale)));
  EXPECT_NEAR(set_metrics(a, a).at("frechet"), 0, 1e-9);
  const Matrix one = evaluator.features(images({0}));
  expect_error([&] { set_metrics(one, b); }, "at least 2 images");
}

TEST(SureShare, CountsImagesWithAClassAboveNineTenths) {
  EXPECT_DOUBLE_EQ(sure_share({{0.95f, 0.05f}, {0.5f, 0.5f}, {0.05f, 0.95f}, {0.9f, 0.1f}}), 0.5);
}

TEST_F(EvaluatorTest, SamplesAreJudgedAgainstTheTestSetBesideAsManyTrainingImages) {
  const Evaluator evaluator(files(), dataset_, Target::cpu);
  data::Dataset test = dataset_;
  test.pixels.resize(20 * 64);
  const Tensor samples = images({3, 1, 4, 1, 5, 9});
  const std::vector<SampleSet> sets{{"samples", "", samples},
                                    {"samples-told", "", images({2, 7, 1, 8, 2, 8})}};
  const auto rows = sample_quality(evaluator, sets, dataset_, test, 1);
  ASSERT_EQ(rows.size(), 4u);
  Labels all(20);
  std::iota(all.begin(), all.end(), 0);
  const Matrix real = evaluator.features(images(all));
  const Metrics expected = set_metrics(evaluator.features(samples), real);
  EXPECT_EQ(rows[0].arm.name, "samples");
  EXPECT_EQ(rows[0].find("frechet")->mean, expected.at("frechet"));
  EXPECT_EQ(rows[0].find("mmd")->mean, expected.at("mmd"));
  EXPECT_EQ(rows[0].find("frechet")->count, 6);
  EXPECT_EQ(rows[0].find("sure")->mean, sure_share(evaluator.probabilities(samples)));
  EXPECT_EQ(rows[1].arm.name, "samples-told");
  EXPECT_EQ(rows[1].find("sure")->mean, sure_share(evaluator.probabilities(sets[1].images)));
  EXPECT_EQ(rows[2].arm.options["images"], 6);
  EXPECT_GT(rows[2].find("frechet")->mean, 0);
  EXPECT_EQ(rows[3].find("frechet"), nullptr);
  EXPECT_EQ(rows[3].find("sure")->count, 20);
  EXPECT_NE(sample_quality(evaluator, sets, dataset_, test, 2)[2].find("frechet")->mean,
            rows[2].find("frechet")->mean)
      << "the training images are drawn";
  const auto judged = [&](std::vector<SampleSet> wrong) {
    sample_quality(evaluator, wrong, dataset_, test, 1);
  };
  expect_error([&] { judged({{"samples", "", images(Labels(31, 0))}}); }, "31 samples");
  expect_error([&] { judged({sets[0], {"samples-told", "", images({1})}}); }, "not as many");
}

TEST(MetricTable, NamesEveryMetricOnce) {
  for (const Metric& m : metrics()) {
    EXPECT_EQ(&metric(m.name), &m) << "a second " << m.name;
    EXPECT_LT(m.low, m.high) << m.name;
    EXPECT_FALSE(m.of_images && m.of_sets) << m.name;
  }
  expect_error([] { metric("cdl"); },
               "there is no metric 'cdl': the metrics are cld, oracle_flip,");
}

TEST_F(EvaluatorTest, RefusesWhatDoesNotFit) {
  expect_error([&] { Evaluator(files(16), dataset_, Target::cpu); }, "is for 16x16x1 images");
  expect_error([&] { Evaluator(files(8, 4), dataset_, Target::cpu); }, "is for 4 classes");
  expect_error([&] { Evaluator(files(8, 3, 2), dataset_, Target::cpu); }, "is for 2 classes");
  EvaluatorFiles swapped = files();
  std::swap(swapped.vae, swapped.oracle);
  expect_error([&] { Evaluator(swapped, dataset_, Target::cpu); }, "kind is oracle, expected vae");

  const Evaluator evaluator(files(), dataset_, Target::cpu);
  const Tensor x = images({0});
  const Labels zero{0}, one{1};
  expect_error([&] { evaluator.score(x, images({0, 1}), zero, one); }, "counterfactuals [2,");
  expect_error([&] { evaluator.score(x, x, zero, Labels{3}); }, "3 is outside the 3 classes");
  expect_error([&] { evaluator.score(x, x, zero, {}); }, "0 target classes for 1 images");
  expect_error(
      [&] {
        evaluator.score(x, Tensor::full({1, 8, 8, 1}, NAN), zero, one);
      },
      "counterfactual: image 0 holds nan");
  expect_error(
      [&] {
        evaluator.score(Tensor::zeros({1, 4, 4, 1}), Tensor::zeros({1, 4, 4, 1}), zero, one);
      },
      "expects images [N,8,8,1]");
  expect_error([&] { evaluator.score(images({0, 1}), x, 0, 1); }, "give one image");
}

}  // namespace
}  // namespace diffscm
