// The evaluator on tiny networks: the same numbers as the metrics one by one, whatever the batch;
// one line for whatever does not fit.
#include <gtest/gtest.h>

#include <cmath>

#include "evaluation/metrics/evaluator.h"
#include "evaluation/metrics/fidelity.h"
#include "evaluation/metrics/interpretability.h"
#include "evaluation/metrics/realism.h"
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
    EXPECT_EQ(m[i].l1, l1[i]);
    EXPECT_EQ(m[i].truth_l1, t[i]);
    EXPECT_EQ(m[i].im1, im[i].im1);
    EXPECT_EQ(m[i].im2, im[i].im2);
    EXPECT_EQ(m[i].cld.value, cld[i].value);
    EXPECT_EQ(m[i].oracle.p_target, p[i][static_cast<size_t>(to[i])]);
    EXPECT_EQ(m[i].guide.flip, i < 2);
    EXPECT_EQ(m[i].disagree, m[i].guide.flip && !m[i].oracle.flip);
    const auto values = to_values(m[i]);
    EXPECT_EQ(values.at("im2"), 100 * m[i].im2);
    EXPECT_EQ(values.at("truth_l1"), t[i]);

    const auto row = static_cast<int64_t>(i);
    const ImageMetrics alone = evaluator.score(factual.slice(row, row + 1).reshape({8, 8, 1}),
                                               other.slice(row, row + 1), from[i], to[i]);
    EXPECT_NEAR(alone.cld.divergence, m[i].cld.divergence, 1e-5);
    EXPECT_NEAR(alone.im1, m[i].im1, 1e-5);
    EXPECT_EQ(to_values(alone).count("truth_l1"), 0u);
  }
}

TEST_F(EvaluatorTest, AnUnchangedImageScoresLogOnePlusE) {
  const Evaluator evaluator(files(), dataset_, Target::cpu);
  const Tensor x = images({0, 4, 11});
  for (const ImageMetrics& m : evaluator.score(x, x, Labels{0, 1, 2}, Labels{1, 2, 0})) {
    EXPECT_NEAR(m.cld.value, std::log(1 + std::exp(1.0)), 1e-12);
    EXPECT_EQ(m.l1, 0);
    EXPECT_EQ(m.l0, 0);
    EXPECT_FALSE(m.has_guide);
    EXPECT_EQ(to_values(m).count("guide_flip"), 0u);
  }
}

TEST_F(EvaluatorTest, SetMetricsUseTheOraclesFeatures) {
  const Evaluator evaluator(files(), dataset_, Target::cpu);
  const Tensor a = images({0, 1, 2, 3, 4, 5, 6}), b = images({7, 8, 9, 10, 11, 12});
  const Matrix fa = evaluator.features(a), fb = evaluator.features(b);
  EXPECT_EQ(fa.rows, 7);
  EXPECT_EQ(fa.columns, 5);
  const SetMetrics m = evaluator.score_sets(a, b);
  EXPECT_EQ(m.frechet, frechet_distance(fa, fb));
  const double scale = unit_scale(fb);
  EXPECT_EQ(m.mmd, kernel_mmd(scaled(fa, scale), scaled(fb, scale)));
  EXPECT_NEAR(evaluator.score_sets(fa, fa).frechet, 0, 1e-9);
  expect_error([&] { evaluator.score_sets(images({0}), b); }, "at least 2 images");
}

TEST_F(EvaluatorTest, RefusesWhatDoesNotFit) {
  expect_error([&] { Evaluator(files(16), dataset_, Target::cpu); }, "is for 16x16x1 images");
  expect_error([&] { Evaluator(files(8, 4), dataset_, Target::cpu); }, "is for 4 classes");
  expect_error([&] { Evaluator(files(8, 3, 2), dataset_, Target::cpu); }, "is for 2 classes");
  EvaluatorFiles swapped = files();
  std::swap(swapped.vae, swapped.oracle);
  expect_error([&] { Evaluator(swapped, dataset_, Target::cpu); }, "holds a oracle, not a vae");

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
