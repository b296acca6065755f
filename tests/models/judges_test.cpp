// The networks that judge: sizes, shapes, strict files, and that they learn.
#include <gtest/gtest.h>

#include "autograd/adamw.h"
#include "models/autoencoder.h"
#include "models/mlp_ensemble.h"
#include "models/oracle.h"
#include "models/vae.h"
#include "tests/engine/io_testing.h"
#include "tests/models/tiny_models.h"

namespace diffscm {
namespace {

using nlohmann::json;
using testing::expect_error;
using testing::random_tensor;
using testing::TemporaryFolder;

TEST(Judges, HaveTheRecordedParameters) {
  Autoencoders autoencoders(AutoencodersConfig{}, 0);
  std::vector<int64_t> counts;
  for (int64_t i = 0; i <= 10; ++i) {
    int64_t count = 0;
    autoencoders.network(i).visit(
        "", [&](const std::string&, Parameter& p) { count += p.variable.value().numel(); });
    counts.push_back(count);
  }
  EXPECT_EQ(counts, (std::vector<int64_t>{3801, 3801, 3801, 3801, 3801, 3801, 3801, 3801, 3801,
                                          3801, 5250}));
  Vae vae(VaeConfig{}, 0);
  Oracle oracle(OracleConfig{}, 0);
  EXPECT_EQ(parameter_count(vae), 86'433);
  EXPECT_EQ(parameter_count(oracle), 61'098);
  EXPECT_LE(least_parameters(VaeConfig{}), parameter_count(vae));
  EXPECT_LE(least_parameters(OracleConfig{}), parameter_count(oracle));
  EXPECT_LE(least_parameters(AutoencodersConfig{}), parameter_count(autoencoders));
  MlpEnsemble ensemble(MlpEnsembleConfig{}, 0);  // five times 784-200-200-10 and two norms
  EXPECT_EQ(parameter_count(ensemble), 5 * (785 * 200 + 201 * 200 + 201 * 10 + 4 * 200));
  EXPECT_LE(least_parameters(MlpEnsembleConfig{}), parameter_count(ensemble));
}

TEST(Judges, HaveTheShapesTheyPromise) {
  const NoGrad no_grad;
  const Tensor x = random_tensor({2, 28, 28, 1}, 1);
  const Autoencoders autoencoders(AutoencodersConfig{}, 0);
  EXPECT_EQ(autoencoders.of_class(3).encode(x).shape(), (Shape{2, 7, 7, 8}));
  EXPECT_EQ(autoencoders.of_all().encode(x).shape(), (Shape{2, 14, 14, 1}));
  EXPECT_EQ(autoencoders.of_class(3).forward(x).shape(), x.shape());
  EXPECT_EQ(autoencoders.of_all().forward(x).shape(), x.shape());
  expect_error([&] { autoencoders.of_class(10); }, "class 10 is outside the 10");
  const Vae vae(VaeConfig{}, 0);
  EXPECT_EQ(vae.encode(x).shape(), (Shape{2, 32}));
  EXPECT_EQ(vae.decode(random_tensor({2, 16}, 1)).shape(), x.shape());
  const Oracle oracle(OracleConfig{}, 0);
  EXPECT_EQ(oracle.features(x).shape(), (Shape{2, 64}));
  const auto p = oracle.probabilities(x);
  ASSERT_EQ(p.size(), 2u);
  float sum = 0;
  for (const float v : p[1]) sum += v;
  EXPECT_NEAR(sum, 1, 1e-5);
  EXPECT_NEAR(p[1][3], oracle.probabilities(x.slice(1, 2))[0][3], 1e-6);
  const Tensor wrong = Tensor::zeros({1, 14, 14, 1});
  expect_error([&] { vae.encode(wrong); }, "expects images [N,28,28,1]");
  expect_error([&] { oracle.features(wrong); }, "expects images [N,28,28,1]");
  expect_error([&] { vae.decode(Tensor::zeros({1, 3})); }, "latents [N,16]");
}

TEST(Judges, TheVaesObjectiveIsReconstructionPlusDivergence) {
  const NoGrad no_grad;
  const Vae vae({.image_size = 8, .in_channels = 1, .channels = {8, 8}, .latent = 3}, 1);
  const Tensor x = random_tensor({2, 8, 8, 1}, 2), noise = random_tensor({2, 3}, 3);
  const GaussianLatent latent = gaussian_latent(vae.encode(x), noise);
  const auto made = vae.decode(latent.z).value().to_vector(), pixels = x.to_vector();
  double squared = 0;
  for (size_t i = 64; i < 128; ++i) squared += std::pow(double{made[i]} - pixels[i], 2);
  EXPECT_NEAR(vae.loss(x, noise, 0.25).value().to_vector()[1],
              0.5 * squared + 0.25 * latent.kl.value().to_vector()[1], 1e-4);
}

const MlpEnsembleConfig kSmallEnsemble{
    .image_size = 4, .in_channels = 1, .classes = 3, .hidden = 16, .members = 3};

TEST(Ensemble, AnswersWithTheMeanOfItsMembers) {
  const NoGrad no_grad;
  const MlpEnsemble ensemble(kSmallEnsemble, 1);
  const Tensor x = random_tensor({2, 4, 4, 1}, 2);
  std::vector<float> mean(6, 0);
  for (int64_t m = 0; m < 3; ++m) {
    const auto logits = ensemble.forward(m, x).value().to_vector();
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += logits[i] / 3;
  }
  const auto together = ensemble.mean_logits(x).value().to_vector();
  for (size_t i = 0; i < mean.size(); ++i) EXPECT_NEAR(together[i], mean[i], 1e-6) << i;
  EXPECT_NE(ensemble.forward(0, x).value().to_vector(), ensemble.forward(1, x).value().to_vector());
  expect_error(
      [&] {
        ensemble.mean_logits(Tensor::zeros({1, 4, 5, 1}));
      },
      "this ensemble expects images [N,4,4,1]");
}

// The fast gradient sign method: every pixel moves by the step, towards less log p of the label.
TEST(Ensemble, IsAttackedByEachMembersOwnGradient) {
  MlpEnsemble ensemble(kSmallEnsemble, 1);
  testing::want_gradients(ensemble);  // as in training
  const Tensor x = random_tensor({2, 4, 4, 1}, 2, 0.5);
  const Tensor labels = Tensor::from(std::vector<int64_t>{2, 0}, {2});
  const float step = 0.05f;
  const std::vector<Tensor> attacks = ensemble.attacks(x, labels, step);
  ASSERT_EQ(attacks.size(), 3u);
  const NoGrad no_grad;
  double loss = 0;
  for (int64_t m = 0; m < 3; ++m) {
    const Tensor& attacked = attacks[static_cast<size_t>(m)];
    const auto before = x.to_vector(), after = attacked.to_vector();
    for (size_t i = 0; i < before.size(); ++i) {
      EXPECT_NEAR(after[i],
                  std::clamp(before[i] + std::copysign(step, after[i] - before[i]), -1.0f, 1.0f),
                  1e-6);
      EXPECT_NE(after[i], before[i]);
    }
    const auto clean = log_softmax_at(ensemble.forward(m, x), labels).value().to_vector(),
               worse = log_softmax_at(ensemble.forward(m, attacked), labels).value().to_vector();
    for (size_t i = 0; i < 2; ++i) EXPECT_LT(worse[i], clean[i]);
    loss -= clean[1] + worse[1];
  }
  EXPECT_NE(attacks[0].to_vector(), attacks[1].to_vector());
  EXPECT_NEAR(ensemble.adversarial_loss(x, labels, attacks).value().to_vector()[1], loss, 1e-5);
  for (const auto& [name, p] : named_parameters(ensemble))
    EXPECT_FALSE(p->variable.gradient()) << name;
}

template <class Model>
void expect_round_trip(const typename Model::Config& config,
                       const std::function<std::vector<float>(const Model&)>& answer) {
  const TemporaryFolder folder;
  Model model(config, 4);
  ModelInfo info;
  info.kind = Model::kKind;
  info.config = config;
  info.diffusion = info.data = info.training = json::object();
  NamedTensors state = state_dict(model);
  const auto path = folder / "m.safetensors";
  write_model(path, info, state);
  const auto loaded = load_model<Model>(path, Target::cpu);
  EXPECT_EQ(answer(loaded.model), answer(model));
  const std::string first = state.begin()->first;
  state.erase(state.begin());
  write_model(path, info, state);
  expect_error([&] { load_model<Model>(path, Target::cpu); }, first);
  info.config["surprise"] = 1;
  write_model(path, info, state);
  expect_error([&] { load_model<Model>(path, Target::cpu); }, "unknown entry 'surprise'");
  expect_error([&] { load_model<UNet>(path, Target::cpu); }, "expected unet");
}

TEST(Judges, ComeBackFromTheirFiles) {
  const Tensor x = random_tensor({2, 8, 8, 1}, 1);
  expect_round_trip<Vae>({.image_size = 8, .in_channels = 1, .channels = {8, 8}, .latent = 3},
                         [&](const Vae& m) { return m.encode(x).value().to_vector(); });
  expect_round_trip<Oracle>(
      {.image_size = 8, .in_channels = 1, .classes = 3, .channels = {8, 16}, .features = 4},
      [&](const Oracle& m) { return m.forward(x).value().to_vector(); });
  expect_round_trip<Autoencoders>(
      {.image_size = 8, .in_channels = 1, .classes = 3},
      [&](const Autoencoders& m) { return m.of_class(2).forward(x).value().to_vector(); });
  expect_round_trip<MlpEnsemble>(
      {.image_size = 8, .in_channels = 1, .classes = 3, .hidden = 8, .members = 2},
      [&](const MlpEnsemble& m) { return m.mean_logits(x).value().to_vector(); });
}

TEST(Judges, RefuseConfigurationsThatMakeNoSense) {
  const auto refused = [](json config, const char* entry, json value, auto type, const char* part) {
    config[entry] = std::move(value);
    expect_error([&] { config.get<decltype(type)>(); }, part);
  };
  const json vae = VaeConfig{}, oracle = OracleConfig{}, autoencoders = AutoencodersConfig{};
  refused(vae, "image_size", 30, VaeConfig{}, "cannot be halved 2 times");
  refused(vae, "latent", 0, VaeConfig{}, "'latent' is 0");
  refused(vae, "channels", json::array(), VaeConfig{}, "'channels' has 0 entries");
  refused(oracle, "channels", {12}, OracleConfig{}, "multiples of 8");
  refused(oracle, "image_size", 4, OracleConfig{}, "cannot be halved 3 times");
  refused(autoencoders, "image_size", 30, AutoencodersConfig{}, "multiple of 4");
  refused(autoencoders, "classes", "ten", AutoencodersConfig{}, "'classes'");
  refused(MlpEnsembleConfig{}, "members", 0, MlpEnsembleConfig{}, "'members' is 0");
}

// Overfits one batch: gradients reach every layer.
template <class Model>
void expect_learns(Model& model, const std::function<Variable()>& loss, double factor) {
  Adamw optimiser(variables(model), {.lr = 5e-3});
  const auto mean = [&](const Variable& l) {
    double sum = 0;
    for (const float v : l.value().to_vector()) sum += v;
    return sum / static_cast<double>(l.value().numel());
  };
  const double before = mean(loss());
  for (int step = 0; step < 150; ++step) {
    const Variable l = loss();
    const auto n = static_cast<float>(l.value().numel());
    backward(l, Tensor::full(l.shape(), 1 / n));
    optimiser.step();
  }
  EXPECT_LT(mean(loss()), factor * before);
}

TEST(Judges, Learn) {
  const Tensor x = random_tensor({4, 8, 8, 1}, 1, 0.5);
  Vae vae({.image_size = 8, .in_channels = 1, .channels = {16, 16}, .latent = 4}, 1);
  const Tensor noise = random_tensor({4, 4}, 2);
  expect_learns(
      vae, [&] { return vae.loss(x, noise, 0.01); }, 0.4);
  Oracle oracle(
      {.image_size = 8, .in_channels = 1, .classes = 3, .channels = {8, 16}, .features = 8}, 1);
  expect_learns(
      oracle,
      [&] {
        return negate(log_softmax_at(oracle.forward(x), {0, 1, 2, 0}));
      },
      0.1);
  MlpEnsemble ensemble(kSmallEnsemble, 1);
  const Tensor small = random_tensor({4, 4, 4, 1}, 3, 0.5);
  const Tensor labels = Tensor::from(std::vector<int64_t>{0, 1, 2, 0}, {4});
  expect_learns(
      ensemble,
      [&] {
        return ensemble.adversarial_loss(small, labels, ensemble.attacks(small, labels, 0.1f));
      },
      0.2);
  Autoencoders autoencoders({.image_size = 8, .in_channels = 1, .classes = 1}, 1);
  const Tensor u = to_unit_range(x);
  expect_learns(
      autoencoders,
      [&] {
        return add(mse_loss(autoencoders.of_class(0).forward(u), u),
                   mse_loss(autoencoders.of_all().forward(u), u));
      },
      0.5);
}

}  // namespace
}  // namespace diffscm
