// Diff-SCM as a method: what its guidance and encoding cost, and what they answer.
#include "evaluation/methods.h"

#include <gtest/gtest.h>

#include "diffusion/batch.h"
#include "tests/models/tiny_models.h"

namespace diffscm {
namespace {

constexpr int kLevels = 4;

template <class Model>
LoadedModel<Model> loaded(Model model, uint32_t seed) {
  testing::randomise(model, seed);
  ModelInfo info;
  info.path = "tiny";
  info.diffusion = {{"schedule", "linear"}, {"timesteps", 1000}};
  return {std::move(model), info};
}

// A U-Net that is told the digit, and a classifier of it.
class Methods : public ::testing::Test {
 protected:
  static UNetConfig conditional() {
    UNetConfig config = testing::tiny_unet_config();
    config.conditions = {{.name = "digit", .classes = 10}};
    return config;
  }
  const DiffusionModel model{loaded(UNet(conditional(), 1), 1), Target::cpu, kLevels},
      unconditional{loaded(UNet(testing::tiny_unet_config(), 1), 1), Target::cpu, kLevels};
  const AntiCausalPredictor predictor{loaded(Classifier(testing::tiny_classifier_config(), 2), 2),
                                      model};
  const Tensor factual = testing::random_tensor({2, 8, 8, 1}, 3, 0.3f);
  const std::vector<Trial> trials{{.id = 0, .factual = {{"digit", 1}}, .set = {{"digit", 7}}},
                                  {.id = 1, .factual = {{"digit", 3}}, .set = {{"digit", 8}}}};

  std::vector<ArmAnswer> answer(const DiffScmOptions& options) const {
    return diff_scm(model, predictor, options, {}).answer(factual, trials);
  }
  static DiffScmOptions options(GuidanceKind guidance, Encoding encoding) {
    DiffScmOptions o;
    o.guidance = guidance;
    o.encoding = encoding;
    o.scales = {0, 1, 2};
    o.abduction.method = AbductionMethod::ddim;
    return o;
  }
};

TEST_F(Methods, CountWhatTheyAskOfTheNetworks) {
  // Abduction asks kLevels times; a condition of scale 1 is asked alone.
  const auto expect = [&](GuidanceKind guidance, std::vector<double> evaluations,
                          std::vector<double> gradients) {
    SCOPED_TRACE(name_of(guidance));
    const auto answers = answer(options(guidance, Encoding::unconditional));
    ASSERT_EQ(answers.size(), 3u);
    for (size_t s = 0; s < 3; ++s)
      for (const Metrics& m : answers[s].extra) {
        EXPECT_EQ(m.at("evaluations"), kLevels * (1 + evaluations[s])) << s;
        EXPECT_EQ(m.at("gradients"), kLevels * gradients[s]) << s;
      }
  };
  expect(GuidanceKind::classifier, {1, 1, 1}, {0, 1, 1});
  expect(GuidanceKind::implicit, {1, 1, 2}, {0, 0, 0});
  expect(GuidanceKind::both, {1, 1, 2}, {0, 1, 1});
}

TEST_F(Methods, AnswerAsTheCounterfactualOfTheirAction) {
  for (const Encoding encoding : {Encoding::unconditional, Encoding::factual}) {
    const DiffScmOptions o = options(GuidanceKind::implicit, encoding);
    const std::vector<data::Assignment> known{trials[0].factual, trials[1].factual},
        target{trials[0].set, trials[1].set};
    const Counterfactual expected = counterfactual(
        {encoding == Encoding::factual ? model.epsilon(known) : model.epsilon(),
         {.conditions = {{model.epsilon(target)}}}},
        model.chain(), factual, {.abduction = o.abduction, .scales = o.scales, .threshold = {}});
    const auto answers = answer(o);
    for (size_t s = 0; s < 3; ++s)
      EXPECT_EQ(answers[s].image.to_vector(), expected.counterfactual[s].to_vector()) << s;
  }
}

// With plain DDIM at few levels the way back is not exact, but it starts from the target's image
// and is told so.
TEST_F(Methods, TheWayBackIsEncodedAsWhatTheImageHasBecome) {
  DiffScmOptions o = options(GuidanceKind::implicit, Encoding::factual);
  o.scales = {1};
  o.cycled_images = o.images_per_repeat = 2;
  const std::vector<data::Assignment> known{trials[0].factual, trials[1].factual},
      target{trials[0].set, trials[1].set};
  const auto answers = answer(o);
  const Tensor there = clamp_to_image(answers[0].image);
  const Counterfactual back = counterfactual(
      {model.epsilon(target), {.conditions = {{model.epsilon(known)}}}}, model.chain(), there,
      {.abduction = o.abduction, .scales = o.scales, .threshold = {}});
  const std::vector<double> l1 = l1_grey_levels(clamp_to_image(back.counterfactual[0]), factual);
  for (size_t i = 0; i < 2; ++i)
    EXPECT_NEAR(answers[0].extra[i].at("reversibility"), l1[i], 1e-3) << i;
}

TEST_F(Methods, RefuseWhatTheNetworksCannotDo) {
  const auto refused = [&](const DiffusionModel& by, const DiffScmOptions& o) {
    EXPECT_THROW(diff_scm_action(by, predictor, o, trials), Error);
  };
  refused(unconditional, options(GuidanceKind::implicit, Encoding::unconditional));
  refused(unconditional, options(GuidanceKind::both, Encoding::unconditional));
  EXPECT_THROW(guiding_networks(GuidanceKind::classifier, model, {}), Error);
  EXPECT_THROW(parse_guidance_kind("magic"), Error);
  for (const GuidanceKind kind :
       {GuidanceKind::classifier, GuidanceKind::implicit, GuidanceKind::both})
    EXPECT_EQ(parse_guidance_kind(name_of(kind)), kind);
}

}  // namespace
}  // namespace diffscm
