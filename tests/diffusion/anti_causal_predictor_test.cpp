#include "diffusion/anti_causal_predictor.h"

#include <gtest/gtest.h>

#include <cmath>

#include "diffusion/replay.h"
#include "engine/captured_step.h"
#include "tests/engine/io_testing.h"
#include "tests/models/tiny_models.h"

namespace diffscm {
namespace {

using nlohmann::json;
using testing::expect_error;
using testing::random_tensor;
using Values = std::vector<double>;

template <class Model>
LoadedModel<Model> loaded(Model model, Target target = Target::cpu, const json& data = {}) {
  testing::randomise(model);
  for (const auto& [name, p] : named_parameters(model))
    p->variable = Variable(p->variable.value().to(target));
  ModelInfo info;
  info.kind = Model::kKind;
  info.config = model.config();
  info.path = "tiny";
  info.diffusion = {{"schedule", "linear"}, {"timesteps", 1000}};
  info.data = data.is_null() ? json::object() : data;
  info.training = json::object();
  return {std::move(model), info};
}

DiffusionModel unet(Target target) {
  return {loaded(UNet(testing::tiny_unet_config(), 1), target), target, 4};
}
AntiCausalPredictor regressor(Target target) {
  return {loaded(Regressor(testing::tiny_regressor_config(), 2), target), unet(target)};
}

// -(f - y) / sigma^2 grad f, with grad f from two values of y: the gradient is linear in y.
TEST(AntiCausalPredictor, ARegressorPullsTowardsItsTargetAsItsPrecisionSays) {
  const AntiCausalPredictor predictor = regressor(Target::cpu);
  EXPECT_FALSE(predictor.is_classifier());
  EXPECT_EQ(predictor.attribute(), "thickness");
  EXPECT_EQ(predictor.classes(), 0);
  EXPECT_EQ(predictor.number().mean, 3);
  const Tensor x = random_tensor({2, 8, 8, 1}, 3);
  const Values f = predictor.values(x);
  const auto gradient = [&](double first, double second, int t) {
    return predictor.gradient(Values{first, second})(x, t).to_vector();
  };
  // Nothing pulls where the image is already what is asked for.
  for (const float g : gradient(f[0], f[1], 0)) EXPECT_NEAR(g, 0, 1e-3);
  const auto once = gradient(f[0] + 0.2, f[1] + 0.3, 0),
             twice = gradient(f[0] + 0.4, f[1] - 0.3, 0);
  double size = 0;
  for (size_t i = 0; i < once.size(); ++i) {
    EXPECT_NEAR(twice[i], (i < 64 ? 2 : -1) * once[i], 1e-3 + 1e-3 * std::abs(once[i]));
    size += std::abs(once[i]);
  }
  EXPECT_GT(size, 1);
  // At the last level sigma is 8 times as large as at the first (tiny_regressor_config).
  AntiCausalPredictor even = [] {
    RegressorConfig config = testing::tiny_regressor_config();
    config.sigma = {{0, 1}};
    return AntiCausalPredictor(loaded(Regressor(config, 2)), unet(Target::cpu));
  }();
  for (const auto& [t, precision] : {std::pair{0, 100.0}, {400, 4.0}, {999, 1.5625}}) {
    const auto g = gradient(2, 4, t), plain = even.gradient(Values{2, 4})(x, t).to_vector();
    for (size_t i = 0; i < g.size(); ++i)
      EXPECT_NEAR(g[i], precision * plain[i], 1e-4 + 1e-3 * std::abs(g[i])) << t;
  }
}

TEST(AntiCausalPredictor, ARegressorsGradientIsTheSameRecorded) {
  const std::vector<float> cpu =
      regressor(Target::cpu)
          .gradient(Values{2, 3.5, 4})(random_tensor({3, 8, 8, 1}, 3), 300)
          .to_vector();
  for (const Target target : available_targets()) {
    if (!records_steps(target)) continue;
    SCOPED_TRACE(name_of(target));
    const GuidanceGradient plain = regressor(target).gradient(Values{2, 3.5, 4});
    EXPECT_TRUE(plain.is_recordable());
    const GuidanceGradient replays = replayed(plain, target, 3);
    const Tensor x = random_tensor({3, 8, 8, 1}, 3).to(target);
    for (const int t : {300, 300, 300, 20, 999}) {  // as it is, recorded, replayed
      EXPECT_EQ(replays(x, t).to_vector(), plain(x, t).to_vector()) << t;
      const std::vector<float> all = plain(x, t).to_vector();
      const std::vector<float> last =
          replays.of(std::vector<int64_t>{2})(x.slice(2, 3), t).to_vector();
      for (size_t i = 0; i < 64; ++i) EXPECT_NEAR(last[i], all[128 + i], 1e-3) << t;
    }
    const std::vector<float> here = plain(x, 300).to_vector();
    for (size_t i = 0; i < cpu.size(); ++i)
      EXPECT_NEAR(here[i], cpu[i], 1e-3 + 1e-3 * std::abs(cpu[i]));
  }
}

TEST(AntiCausalPredictor, AClassifierPredictsTheFirstCategoryOfItsData) {
  const json attributes =
      json::parse(R"({"attributes": [{"name": "width"}, {"name": "sex", "states": ["f", "m"]}]})");
  const DiffusionModel model = unet(Target::cpu);
  const auto classifier = [&](const json& data) {
    return AntiCausalPredictor(
        loaded(Classifier(testing::tiny_classifier_config(), 2), Target::cpu, data), model);
  };
  EXPECT_EQ(classifier({}).attribute(), "");
  const AntiCausalPredictor predictor = classifier(attributes);
  EXPECT_EQ(predictor.attribute(), "sex");
  EXPECT_TRUE(predictor.is_classifier());
  const Tensor x = random_tensor({2, 8, 8, 1}, 3);
  EXPECT_EQ(predictor.gradient(Values{3, 9})(x, 50).to_vector(),
            predictor.gradient(std::vector<int64_t>{3, 9})(x, 50).to_vector());
  // Of one network, so that what is recorded for the one serves the other.
  EXPECT_TRUE(predictor.gradient(Values{3, 9}).joins(predictor.gradient(Values{0, 1})));
  expect_error([&] { predictor.gradient(Values{3, 10}); }, "'sex' = 10");
  expect_error([&] { predictor.gradient(Values{0.5}); }, "the categories 0 to 9");
  expect_error([&] { predictor.values(x); }, "is a classifier");
}

TEST(AntiCausalPredictor, IsReadFromAFileOfEitherKind) {
  const testing::TemporaryFolder folder;
  const DiffusionModel model = unet(Target::cpu);
  const auto write = [&](auto&& m, const std::function<void(ModelInfo&)>& change) {
    change(m.info);
    write_model(folder / "model.safetensors", m.info, state_dict(m.model));
    return AntiCausalPredictor(folder / "model.safetensors", model);
  };
  const auto same = [](ModelInfo&) {};
  auto good = [] { return loaded(Regressor(testing::tiny_regressor_config(), 2)); };
  EXPECT_FALSE(write(good(), same).is_classifier());
  EXPECT_TRUE(
      write(loaded(Classifier(testing::tiny_classifier_config(), 2)), same).is_classifier());
  expect_error([&] { write(loaded(UNet(testing::tiny_unet_config(), 2)), same); },
               "kind is unet, expected classifier or regressor");
  expect_error([&] { write(good(), [](ModelInfo& i) { i.config["sigma"] = json::array(); }); },
               "finish it with --resume");
  expect_error([&] { write(good(), [](ModelInfo& i) { i.diffusion["timesteps"] = 500; }); },
               "cannot work together");
  expect_error(
      [&] {
        RegressorConfig config = testing::tiny_regressor_config();
        config.in_channels = 3;
        write(loaded(Regressor(config, 2)), same);
      },
      "reads 8x8x3 images, ");
  const AntiCausalPredictor predictor = write(good(), same);
  expect_error([&] { predictor.gradient(std::vector<int64_t>{1}); }, "cannot guide to a class");
  expect_error([&] { predictor.predict(Tensor::zeros({1, 8, 8, 1})); }, "knows no classes");
  expect_error([&] { predictor.gradient(Values{std::nan("")}); }, "'thickness' = nan");
}

}  // namespace
}  // namespace diffscm
