#include "causal/intervention.h"

#include <gtest/gtest.h>

#include <optional>

#include "causal/counterfactual.h"
#include "diffusion/diffusion_model.h"
#include "diffusion/sampler.h"
#include "tests/diffusion/analytic.h"
#include "tests/models/tiny_models.h"

namespace diffscm {
namespace {

using analytic::grey_levels;
using analytic::Mixture;

// Images whose "kind" (0 or 1) moves every pixel, in a world that both a conditional network and a
// classifier know exactly; a second parent, "size", is known to the classifier's half alone.
class Kinds : public ::testing::Test {
 protected:
  const NoiseSchedule schedule{ScheduleKind::linear, 1000};
  const Chain chain{schedule, 50};
  const Mixture world{{std::vector<double>(16, -0.5), std::vector<double>(16, 0.5)},
                      std::vector<double>(16, 0.04)};
  ParentNetworks networks;
  std::vector<Assignment> told;  // by the last call of the conditional network
  std::vector<double> sizes;     // asked of the predictor of "size"
  const Tensor factual = [] {    // one image of kind 0 and one of kind 1
    std::vector<float> values = initial_noise({2, 4, 4, 1}, {}, 4).to_vector();
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = 0.2f * values[i] + (i < 16 ? -0.5f : 0.5f);
    return Tensor::from(values, {2, 4, 4, 1});
  }();
  const std::vector<Assignment> known{{{"kind", 0}, {"size", 3}}, {{"kind", 1}, {"size", 4}}};

  Kinds() {
    networks.epsilon = epsilon_of(world, schedule);
    networks.conditions = {"kind"};
    const auto network = conditional_network(world, schedule);
    networks.conditional = [this, network](std::span<const Assignment> parents) {
      told.assign(parents.begin(), parents.end());
      std::vector<float> kinds;
      for (const Assignment& a : parents)
        kinds.push_back(a.contains("kind") ? static_cast<float>(a.at("kind")) : -1);
      return analytic::told(network, kinds);
    };
    networks.predictors["size"] = [this](std::span<const double> values) {
      sizes.assign(values.begin(), values.end());
      return posterior_gradient(world, schedule, {0, 0});
    };
  }
  Counterfactual answer(const Action& action, const std::vector<double>& scales) const {
    return counterfactual(action, chain, factual,
                          {.abduction = {.tolerance = 2e-3}, .scales = scales});
  }
};

TEST_F(Kinds, FactualEncodingKeepsWhatDoLeavesAlone) {
  networks.predictors.clear();
  const Action action = act(networks, {.targets = {{{"kind", 1}}, {{"kind", 1}}}, .factual = known},
                            Encoding::factual);
  EXPECT_EQ(told,
            (std::vector<Assignment>{{{"kind", 1}, {"size", 3}}, {{"kind", 1}, {"size", 4}}}));
  const Counterfactual c = answer(action, {1, 2});
  EXPECT_LT(analytic::worst_grey_levels(c.reconstruction.at(0), factual), 0.05);
  // The first image becomes of the other kind in place; do() of the factual kind changes nothing.
  const std::vector<float> before = factual.to_vector(), after = c.counterfactual[0].to_vector();
  for (size_t i = 0; i < 16; ++i) EXPECT_NEAR(after[i], before[i] + 1, 0.05) << i;
  for (const Tensor& image : c.counterfactual) EXPECT_LT(grey_levels(image, factual, 1), 0.05);
}

TEST_F(Kinds, UnconditionalEncodingIsToldTheInterventionAlone) {
  const Action action = act(networks, {.targets = {{{"kind", 1}}, {{"kind", 1}}}, .factual = known},
                            Encoding::unconditional);
  EXPECT_EQ(told, (std::vector<Assignment>{{{"kind", 1}}, {{"kind", 1}}}));
  const Counterfactual c = answer(action, {1});
  EXPECT_LT(analytic::worst_grey_levels(c.reconstruction.at(0), factual), 0.05);
  EXPECT_GT(grey_levels(c.counterfactual[0], factual, 0), 50);
}

TEST_F(Kinds, EveryNetworkThatKnowsAParentGuides) {
  const Intervention both{.targets = {{{"kind", 1}, {"size", 7}}, {{"kind", 0}, {"size", 8}}}};
  Action action = act(networks, both, Encoding::unconditional);
  EXPECT_EQ(action.guidance.conditions.size(), 1u);
  EXPECT_EQ(action.guidance.gradients.size(), 1u);
  EXPECT_EQ(sizes, (std::vector<double>{7, 8}));
  networks.predictor_scale = 0.25;
  action = act(networks, both, Encoding::unconditional);
  EXPECT_EQ(action.guidance.gradients[0].scale, 0.25);
  EXPECT_EQ(action.guidance.conditions[0].scale, 1);
  action = act(networks, {.targets = {{{"size", 7}}, {{"size", 8}}}}, Encoding::unconditional);
  EXPECT_TRUE(action.guidance.conditions.empty());
  EXPECT_EQ(action.guidance.gradients.size(), 1u);
}

TEST_F(Kinds, FactualEncodingAsksThePredictorsOfAllParents) {
  Action action = act(networks, {.targets = {{{"kind", 1}}, {{"kind", 1}}}, .factual = known},
                      Encoding::factual);
  EXPECT_EQ(action.factual.gradients.size(), 1u);
  EXPECT_EQ(action.guidance.gradients.size(), 1u);
  EXPECT_EQ(sizes, (std::vector<double>{3, 4}));  // do() leaves them alone
  networks.conditional = {};
  networks.conditions.clear();
  std::vector<std::vector<double>> asked;
  networks.predictors["size"] = [&](std::span<const double> values) {
    asked.emplace_back(values.begin(), values.end());
    return posterior_gradient(world, schedule, {0, 0});
  };
  action = act(networks, {.targets = {{{"size", 7}}, {{"size", 8}}}, .factual = known},
               Encoding::factual);
  EXPECT_EQ(asked, (std::vector<std::vector<double>>{{7, 8}, {3, 4}}));
  EXPECT_TRUE(action.guidance.conditions.empty());
}

TEST_F(Kinds, Refuses) {
  const auto targets = [](const Assignment& a) { return std::vector<Assignment>{a, a}; };
  const auto refuses = [&](const Intervention& intervention, Encoding encoding) {
    EXPECT_THROW(act(networks, intervention, encoding), Error);
  };
  refuses({}, Encoding::unconditional);
  refuses({targets({})}, Encoding::unconditional);
  refuses({targets({{"colour", 1}})}, Encoding::unconditional);
  refuses({{{{"kind", 1}}, {{"size", 1}}}}, Encoding::unconditional);
  refuses({targets({{"kind", 1}})}, Encoding::factual);  // nothing is known of the images
  refuses({targets({{"kind", 1}}), targets({{"size", 1}})}, Encoding::factual);
  // The size of one image is not known.
  refuses({targets({{"kind", 1}}), {known[0], {{"kind", 1}}}}, Encoding::factual);
  EXPECT_THROW(parse_encoding("maybe"), Error);
  EXPECT_EQ(parse_encoding("factual"), Encoding::factual);
}

// A U-Net that is told parents: what is bound reaches it image by image, and nothing told is the
// unconditional model.
TEST(ConditionalModel, TellsTheNetworkTheParents) {
  UNetConfig config = testing::tiny_unet_config();
  config.conditions = {{.name = "kind", .classes = 3}, {.name = "size", .mean = 4, .deviation = 2}};
  UNet unet(config, 3);
  testing::randomise(unet, 1, 0.2f);
  ModelInfo info;
  info.path = "tiny";
  info.diffusion = {{"schedule", "linear"}, {"timesteps", 1000}};
  std::optional<DiffusionModel> model(std::in_place, LoadedModel<UNet>{std::move(unet), info},
                                      Target::cpu, 4);
  EXPECT_TRUE(model->is_conditional());
  const Tensor x = testing::random_tensor({2, 8, 8, 1}, 9);
  const std::vector<Assignment> parents{{{"kind", 2}, {"size", 5}, {"mood", 1}}, {{"size", 1}}};
  const EpsilonModel told = model->epsilon(parents), nothing = model->epsilon(),
                     null = model->epsilon(std::vector<Assignment>(2));
  EXPECT_THROW(model->epsilon(std::vector<Assignment>{{{"kind", 3}}}), Error);
  model.reset();  // the functions hold what they need
  const auto answer = [&](const EpsilonModel& f) { return f(x, 300); };
  EXPECT_EQ(answer(null).to_vector(), answer(nothing).to_vector());
  EXPECT_GT(analytic::grey_levels(answer(told), answer(null), 0), 0.1);
  EXPECT_GT(analytic::grey_levels(answer(told), answer(null), 1), 0.1);
  const std::vector<int64_t> second{1};
  EXPECT_EQ(told.of(second)(x.slice(1, 2), 300).to_vector(), answer(told).slice(1, 2).to_vector());
  // Both in one evaluation of the network.
  const Prediction joined = Denoiser(null, {.conditions = {{told, 2}}})(x, 300);
  EXPECT_EQ(joined.base.to_vector(), answer(null).to_vector());
  EXPECT_EQ(joined.eps.to_vector(), answer(told).to_vector());
}

}  // namespace
}  // namespace diffscm
