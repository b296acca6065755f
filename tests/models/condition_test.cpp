#include "models/condition.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/models/tiny_models.h"

namespace diffscm {
namespace {

using testing::random_tensor;
using testing::randomise;

const double kUnknown = std::nan("");
const std::vector<Condition> kDigitAndThickness{{.name = "digit", .classes = 3},
                                                {.name = "thickness", .mean = 2, .deviation = 0.5}};

TEST(Condition, CategoriesAreOneHotAndNumbersWaves) {
  const std::vector<double> values{1, 3.0, kUnknown, kUnknown};
  const Tensor f = condition_features(kDigitAndThickness, values, Target::cpu);
  EXPECT_EQ(f.shape(), (Shape{2, 11}));
  const std::vector<float> v = f.to_vector();
  const double z = 2;  // (3 - 2) / 0.5
  const double expected[] = {0,
                             1,
                             0,
                             1,
                             z,
                             std::sin(z),
                             std::cos(z),
                             std::sin(2 * z),
                             std::cos(2 * z),
                             std::sin(4 * z),
                             std::cos(4 * z)};
  for (size_t i = 0; i < 11; ++i) {
    EXPECT_NEAR(v[i], expected[i], 1e-6) << i;
    EXPECT_EQ(v[11 + i], 0) << i;
  }
}

TEST(Condition, RefusesWhatIsNoCategory) {
  for (const double digit : {3.0, -1.0, 0.5, HUGE_VAL})
    EXPECT_THROW(condition_features(kDigitAndThickness, std::vector<double>{digit, 0}, Target::cpu),
                 Error)
        << digit;
  EXPECT_THROW(
      condition_features(kDigitAndThickness, std::vector<double>{0, HUGE_VAL}, Target::cpu), Error);
  EXPECT_THROW(condition_features(kDigitAndThickness, std::vector<double>{0, -1e30}, Target::cpu),
               Error);
  EXPECT_THROW(condition_features(kDigitAndThickness, std::vector<double>{0}, Target::cpu), Error);
}

// What it was told before it does as before; what is new says nothing yet.
TEST(Condition, AModelLearnsMoreOfThem) {
  UNetConfig before = testing::tiny_unet_config(), after = before;
  before.conditions = {kDigitAndThickness[0]};
  after.conditions = {kDigitAndThickness[1], kDigitAndThickness[0]};
  UNet taught(before, 1), learner(after, 2), forgetful(testing::tiny_unet_config(), 3);
  randomise(taught, 4);
  const auto start = [&](UNet& unet, const UNetConfig& config) {
    NamedTensors state = state_dict(taught);
    teach_conditions(state, before.conditions, config.conditions);
    load_state(named_parameters(unet), state);
  };
  start(learner, after);
  start(forgetful, forgetful.config());
  const Tensor x = random_tensor({2, 8, 8, 1}, 5), t = Tensor::full({2}, 7);
  const auto features = [](const UNetConfig& config, const std::vector<double>& values) {
    return condition_features(config.conditions, values, Target::cpu);
  };
  EXPECT_EQ(learner.predict(x, t, features(after, {3.5, 1, 1, 2})).to_vector(),
            taught.predict(x, t, features(before, {1, 2})).to_vector());
  EXPECT_EQ(forgetful.predict(x, t).to_vector(), taught.predict(x, t).to_vector());

  after.conditions[1].classes = 4;
  NamedTensors state = state_dict(taught);
  EXPECT_THROW(teach_conditions(state, before.conditions, after.conditions), Error);
}

TEST(Condition, SurvivesItsFile) {
  UNetConfig config = testing::tiny_unet_config();
  config.norm_groups = 8;
  config.conditions = kDigitAndThickness;
  const auto read = nlohmann::json(config).get<UNetConfig>();
  EXPECT_EQ(nlohmann::json(read), nlohmann::json(config));
  EXPECT_EQ(read.conditions[1].deviation, 0.5);

  // Files of before know neither conditions nor norm groups.
  nlohmann::json old = testing::tiny_unet_config();
  old.erase("conditions");
  old.erase("norm_groups");
  EXPECT_EQ(old.get<UNetConfig>().norm_groups, 32);

  nlohmann::json wrong = config;
  wrong["conditions"][1]["deviation"] = 0;
  EXPECT_THROW(wrong.get<UNetConfig>(), Error);
}

class ConditionalUNet : public ::testing::Test {
 protected:
  ConditionalUNet() : unet_(make()) { randomise(unet_); }
  static UNet make() {
    UNetConfig config = testing::tiny_unet_config();
    config.norm_groups = 8;
    config.conditions = {{.name = "digit", .classes = 10}};
    return UNet(config, 1);
  }
  std::vector<float> told(const std::vector<double>& digits) {
    return unet_.predict(x_, t_, condition_features(unet_.config().conditions, digits, Target::cpu))
        .to_vector();
  }

  UNet unet_;
  const Tensor x_ = random_tensor({2, 8, 8, 1}, 2);
  const Tensor t_ = Tensor::from(std::vector<float>{10, 500}, {2});
};

TEST_F(ConditionalUNet, IsNamedAndShapedAsInGuidedDiffusion) {
  const NamedTensors state = state_dict(unet_);
  ASSERT_TRUE(state.contains("label_emb.weight"));
  EXPECT_EQ(state.at("label_emb.weight").shape(), (Shape{10, 128}));
}

TEST_F(ConditionalUNet, ToldNothingIsUnconditional) {
  EXPECT_EQ(told({kUnknown, kUnknown}), unet_.predict(x_, t_).to_vector());
}

TEST_F(ConditionalUNet, EachImageHearsItsOwnCondition) {
  const std::vector<float> unknown = told({kUnknown, kUnknown}), both = told({3, 7}),
                           first = told({3, kUnknown});
  const size_t half = both.size() / 2;
  double moved = 0;
  for (size_t i = 0; i < half; ++i) {
    EXPECT_EQ(both[i], first[i]);
    EXPECT_EQ(first[half + i], unknown[half + i]);
    moved += std::abs(both[half + i] - unknown[half + i]);
  }
  EXPECT_GT(moved / static_cast<double>(half), 1e-3);
}

TEST_F(ConditionalUNet, RefusesFeaturesThatDoNotFit) {
  EXPECT_THROW(unet_.predict(x_, t_, Tensor::zeros({2, 9})), Error);
  EXPECT_THROW(unet_.predict(x_, t_, Tensor::zeros({1, 10})), Error);
  UNet unconditional(testing::tiny_unet_config(), 1);
  EXPECT_THROW(unconditional.predict(x_, t_, Tensor::zeros({2, 10})), Error);
}

}  // namespace
}  // namespace diffscm
