// "What would this digit look like, had it been a 5?" for eight digits that the networks never saw.
//   counterfactual [LEVELS]     how finely to walk the diffusion, 1 to 1000 (default 100)
#include "causal/counterfactual.h"

#include <fmt/format.h>

#include <cstdlib>

#include "data/dataset.h"
#include "diffusion/anti_causal_predictor.h"
#include "diffusion/batch.h"
#include "diffusion/diffusion_model.h"
#include "engine/io/npz.h"

int main(int argc, char** argv) try {
  using namespace diffscm;
  const int levels = argc > 1 ? std::atoi(argv[1]) : 100;
  const std::vector<int64_t> index{0, 1, 2, 3, 4, 5, 6, 7}, five(index.size(), 5);

  const DiffusionModel model(WEIGHTS "/digits-unet.safetensors", default_target(), levels);
  const AntiCausalPredictor predictor(WEIGHTS "/digits-classifier.safetensors", model);
  const data::Dataset digits = data::load_dataset("digits", data::Split::test);
  const Tensor factual = digits.images(index).to(model.target());

  CounterfactualOptions options;
  options.scales = {2};  // how strongly the intervention acts
  const Counterfactual answer = counterfactual(
      {.epsilon = model.epsilon(), .guidance = {.gradients = {{predictor.gradient(five)}}}},
      model.chain(), factual, options);
  const Tensor image = clamp_to_image(answer.counterfactual[0]);

  const std::vector<double> distance = l1_grey_levels(image, factual);
  const auto p = predictor.predict(image);
  for (size_t i = 0; i < index.size(); ++i)
    fmt::print("image {}: a {}, do(digit=5): p(5) = {:.3f}, {:.2f} grey levels away\n", i,
               digits.labels[i], p[i][5], distance[i]);
  io::write_npz("counterfactual.npz", {{"factual", io::NpyArray::from(factual)},
                                       {"counterfactual", io::NpyArray::from(image)}});
} catch (const std::exception& e) {
  fmt::print(stderr, "counterfactual: {}\n", e.what());
  return 1;
}
