#include "models/regressor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "models/classifier.h"
#include "tests/engine/io_testing.h"
#include "tests/models/tiny_models.h"

namespace diffscm {
namespace {

using nlohmann::json;
using testing::expect_error;
using testing::random_tensor;
using testing::randomise;
using testing::tiny_regressor_config;
using Floats = std::vector<float>;

const std::vector<NoiseLevelError> kSigma{{0, 0.1}, {400, 0.5}, {999, 0.8}};

// The density that the file's comment states, in double, of values in the attribute's own units.
double log_p(const Regressor& regressor, const Tensor& x, const Tensor& t,
             const std::vector<double>& y, const std::vector<double>& sigma) {
  const NoGrad no_grad;
  ForwardContext context;
  const Condition& a = regressor.config().attribute;
  const Floats f = regressor.forward(x, t, context).value().to_vector();
  double sum = 0;
  for (size_t i = 0; i < y.size(); ++i)
    sum -= std::pow((f[i] - (y[i] - a.mean) / a.deviation) / sigma[i], 2) / 2 + std::log(sigma[i]);
  return sum;
}

TEST(Regressor, TheGradientIsThatOfItsLogDensity) {
  Regressor regressor(tiny_regressor_config(), 1);
  randomise(regressor);
  const Tensor x = random_tensor({3, 8, 8, 1}, 2), t = Tensor::from(Floats{0, 200, 999}, {3});
  const std::vector<double> y{2, 4.5, 3.1},
      sigma{0.1, 1 / std::sqrt((1 / 0.01 + 1 / 0.25) / 2), 0.8};
  const Floats g =
      regressor
          .log_p_gradient(x, t, regressor.standardised(y, Target::cpu),
                          NoiseLevelPrecision(regressor.config().sigma, Target::cpu)(t))
          .to_vector();
  // Image by image: the first has by far the greatest.
  for (int64_t image = 0; image < 3; ++image) {
    const Floats own(g.begin() + image * 64, g.begin() + (image + 1) * 64);
    ASSERT_GT(testing::dot(own, own), 0);
    for (uint32_t direction = 0; direction < 3; ++direction) {
      const Floats v = random_tensor({64}, 50 + direction).to_vector();
      const auto moved = [&](float step) {
        Floats values = x.to_vector();
        for (size_t i = 0; i < 64; ++i) values[static_cast<size_t>(image) * 64 + i] += step * v[i];
        return log_p(regressor, Tensor::from(values, x.shape()), t, y, sigma);
      };
      const float step = 4e-3f;
      EXPECT_NEAR(testing::dot(own, v), (moved(step) - moved(-step)) / (2 * step),
                  2e-2 * std::sqrt(testing::dot(own, own)))
          << image;
    }
  }
}

TEST(Regressor, PrecisionIsLinearBetweenTheLevelsThatWereMeasured) {
  for (const Target target : available_targets()) {
    SCOPED_TRACE(name_of(target));
    const NoiseLevelPrecision precision(kSigma, target);
    const Floats p =
        precision(Tensor::from(Floats{0, 100, 400, 700, 999, 1200}, {6}).to(target)).to_vector();
    const double expected[] = {100, 76, 4, 4 - (4 - 1.5625) * 300 / 599, 1.5625, 1.5625};
    for (size_t i = 0; i < 6; ++i) EXPECT_NEAR(p[i], expected[i], 1e-4 * expected[i]) << i;
  }
  // What comes before the first level is as that; one level serves all.
  const NoiseLevelPrecision late(std::vector<NoiseLevelError>{{100, 0.5}, {200, 1}}, Target::cpu),
      one(std::vector<NoiseLevelError>{{0, 0.5}}, Target::cpu);
  const Floats around = late(Tensor::from(Floats{0, 100, 150, 900}, {4})).to_vector();
  const double all[] = {4, 4, 2.5, 1};
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(around[i], all[i], 1e-5) << i;
  EXPECT_EQ(one(Tensor::from(Floats{0, 999}, {2})).to_vector(), (Floats{4, 4}));
  EXPECT_THROW(NoiseLevelPrecision({}, Target::cpu), Error);
}

TEST(Regressor, SpeaksTheAttributesUnits) {
  Regressor regressor(tiny_regressor_config(), 1);
  randomise(regressor);
  const Tensor x = random_tensor({2, 8, 8, 1}, 3);
  ForwardContext context;
  const Floats z = regressor.forward(x, Tensor::full({2}, 30), context).value().to_vector();
  const std::vector<double> values = regressor.values(x, 30);
  for (size_t i = 0; i < 2; ++i) EXPECT_NEAR(values[i], 3 + 0.5 * z[i], 1e-6);
  const Floats back = regressor.standardised(values, Target::cpu).to_vector();
  for (size_t i = 0; i < 2; ++i) EXPECT_NEAR(back[i], z[i], 1e-5);
  EXPECT_THROW(regressor.standardised(std::vector<double>{std::nan("")}, Target::cpu), Error);
  EXPECT_THROW(regressor.values(Tensor::zeros({1, 28, 28, 1}), 0), Error);
}

TEST(Regressor, IsTheEncoderOfTheClassifierWithOneOutput) {
  Regressor regressor(tiny_regressor_config(), 1);
  Classifier classifier(testing::tiny_classifier_config(), 1);
  const auto own = named_parameters(regressor), others = named_parameters(classifier);
  ASSERT_EQ(own.size(), others.size());
  for (size_t i = 0; i < own.size(); ++i) EXPECT_EQ(own[i].first, others[i].first);
  EXPECT_LE(least_parameters(regressor.config()), parameter_count(regressor));
  EXPECT_GT(10 * least_parameters(regressor.config()), parameter_count(regressor));
}

TEST(Regressor, AFileHoldsAllOfIt) {
  const testing::TemporaryFolder folder;
  Regressor regressor(tiny_regressor_config(), 1);
  randomise(regressor);
  ModelInfo info;
  info.kind = Regressor::kKind;
  info.config = regressor.config();
  info.diffusion = info.data = info.training = json::object();
  write_model(folder / "r.safetensors", info, state_dict(regressor));
  const auto loaded = load_model<Regressor>(folder / "r.safetensors", Target::cpu);
  EXPECT_EQ(json(loaded.model.config()), json(regressor.config()));
  const Tensor x = random_tensor({2, 8, 8, 1}, 3);
  EXPECT_EQ(loaded.model.values(x, 7), regressor.values(x, 7));
}

TEST(Regressor, ConfigurationsThatMakeNoSenseAreRefused) {
  const json good = tiny_regressor_config();
  const auto refused = [&](const json& patch, std::string_view part) {
    json bad = good;
    bad.merge_patch(patch);
    expect_error([&] { bad.get<RegressorConfig>(); }, part);
  };
  good.get<RegressorConfig>();
  refused({{"attribute", nullptr}}, "regressor configuration lacks 'attribute'");
  refused({{"attribute", {{"deviation", 0}}}}, "deviation 0");
  refused(json::parse(R"({"attribute": {"classes": 3, "mean": null, "deviation": null}})"),
          "has 3 classes, not a number");
  refused({{"sigma", {{{"timestep", 5}, {"rms", 0}}}}}, "'sigma' is 0 at timestep 5");
  refused(json::parse(R"({"sigma": [{"timestep": 5, "rms": 1}, {"timestep": 5, "rms": 1}]})"),
          "timestep 5 out of order");
  refused(json::parse(R"({"sigma": [{"timestep": -1, "rms": 1}]})"), "timestep -1 out of order");
  refused(json::parse(R"({"sigma": [{"rms": 1}]})"), "lacks 'timestep'");
  refused({{"classes", 10}}, "unknown entry 'classes'");
  refused({{"norm_groups", 5}}, "multiple of 'norm_groups'");
}

}  // namespace
}  // namespace diffscm
