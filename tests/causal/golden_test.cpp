// Tiny networks with random weights against PyTorch in double precision: bench/peers/golden.py made
// both the model files and the answers. What no comparison of our targets with each other can show:
// an order, a sign or a formula that is wrong everywhere.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "causal/counterfactual.h"
#include "diffusion/anti_causal_predictor.h"
#include "diffusion/diffusion_model.h"
#include "engine/io/npz.h"

namespace diffscm {
namespace {

const std::string kFolder = DIFFSCM_GOLDEN;

class Golden : public ::testing::TestWithParam<Target> {
 protected:
  Tensor tensor(const std::string& name) const {
    const io::NpyArray& array = expected_.at(name);
    return Tensor::from(array.to_floats(), array.shape).to(GetParam());
  }
  std::vector<int64_t> targets() const { return expected_.at("target").to_ints(); }

  // The classes as what a conditional U-Net is told.
  Tensor told(const UNet& unet) const {
    const std::vector<int64_t> classes = targets();
    const std::vector<double> values(classes.begin(), classes.end());
    return condition_features(unet.config().conditions, values, GetParam());
  }

  // Relative to the largest value.
  void expect_close(const Tensor& actual, const std::string& name, double tolerance) const {
    const io::NpyArray& array = expected_.at(name);
    ASSERT_EQ(actual.shape(), array.shape) << name;
    const std::vector<float> a = actual.to_vector(), b = array.to_floats();
    double difference = 0, largest = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      ASSERT_TRUE(std::isfinite(a[i])) << name;
      difference = std::max(difference, std::abs(double{a[i]} - double{b[i]}));
      largest = std::max(largest, std::abs(double{b[i]}));
    }
    EXPECT_LT(difference, tolerance * largest) << name;
    RecordProperty(name, std::to_string(difference / largest));
  }

 private:
  const io::NpyArrays expected_ = io::read_npz(kFolder + "/expected.npz");
};

TEST_P(Golden, EpsOfTheUNet) {
  const auto unet = load_model<UNet>(kFolder + "/unet.safetensors", GetParam());
  const Tensor x = tensor("x"), t = tensor("t");
  expect_close(unet.model.predict(x, t), "eps", 3e-5);
  expect_close(unet.model.predict(x, t, told(unet.model)), "eps_told", 3e-5);
}

TEST_P(Golden, LogitsAndInputGradientOfTheClassifier) {
  const auto loaded = load_model<Classifier>(kFolder + "/classifier.safetensors", GetParam());
  const Classifier& classifier = loaded.model;
  const Tensor x = tensor("x"), t = tensor("t");
  {
    const NoGrad no_grad;
    ForwardContext context;
    expect_close(classifier.forward(x, t, context).value(), "logits", 3e-5);
  }
  const Tensor target = Tensor::from(targets(), {x.dim(0)}, GetParam());
  expect_close(classifier.log_p_gradient(x, t, target), "gradient", 3e-5);
}

TEST_P(Golden, CounterfactualsFromAbductionToPrediction) {
  const DiffusionModel model(kFolder + "/unet.safetensors", GetParam(), /*steps=*/0);
  const AntiCausalPredictor predictor(kFolder + "/classifier.safetensors", model);
  std::vector<data::Assignment> parents;
  for (const int64_t target : targets())
    parents.push_back({{model.conditions().at(0).name, static_cast<double>(target)}});
  CounterfactualOptions options;
  options.abduction.method = AbductionMethod::ddim;
  options.abduction.levels = 5;
  options.scales = {1.5};

  const Counterfactual guided =
      counterfactual({model.epsilon(), {.gradients = {{predictor.gradient(targets())}}}},
                     model.chain(), tensor("factual"), options);
  expect_close(guided.abduction.at(0).latent, "latent", 3e-5);
  expect_close(guided.reconstruction.at(0), "reconstruction", 3e-5);
  expect_close(guided.counterfactual.at(0), "counterfactual", 3e-5);

  const Counterfactual implicit =
      counterfactual({model.epsilon(), {.conditions = {{model.epsilon(parents)}}}}, model.chain(),
                     tensor("factual"), options);
  expect_close(implicit.counterfactual.at(0), "implicit", 3e-5);
}

INSTANTIATE_TEST_SUITE_P(Targets, Golden, ::testing::ValuesIn(available_targets()),
                         [](const auto& info) { return std::string(name_of(info.param)); });

}  // namespace
}  // namespace diffscm
