// diffscm train bound: a network that sees the image and the target class alone and learns the true
// counterfactuals of a world that knows them: what it leaves is what no method can know.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "apps/training.h"
#include "diffusion/batch.h"
#include "evaluation/bound.h"
#include "evaluation/metrics/fidelity.h"
#include "training/clean_batches.h"

namespace diffscm::apps {
namespace {

using nlohmann::json;

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// L1 to the truth on the first test images, beside that of doing nothing.
json evaluate(Common& common, const Bound& bound, const data::Dataset& test, uint64_t seed) {
  constexpr int64_t kImages = 500, kBatch = 100;
  const int64_t count = std::min(kImages, test.size());
  std::vector<double> answer, nothing;
  for (int64_t begin = 0; begin < count; begin += kBatch) {
    std::vector<int64_t> index(static_cast<size_t>(std::min(kBatch, count - begin)));
    std::iota(index.begin(), index.end(), begin);
    const CounterfactualPairs pairs = draw_pairs(test, index, seed, begin);
    const Tensor factual = test.images(index);
    const Tensor image =
        clamp_to_image(bound.answer(factual.to(common.target()), pairs.targets).to(Target::cpu));
    const auto append = [&](std::vector<double>& all, const Tensor& to_truth) {
      const std::vector<double> l1 = l1_distance(to_truth, pairs.truth);
      all.insert(all.end(), l1.begin(), l1.end());
    };
    append(answer, image);
    append(nothing, factual);
  }
  common.console.say(
      fmt::format("{} test images, L1 to the true counterfactual: {:.2f} grey levels; of the "
                  "factual image itself: {:.2f}",
                  count, mean(answer), mean(nothing)));
  return {{"test_truth_l1", mean(answer)}, {"test_truth_l1_of_factual", mean(nothing)}};
}

}  // namespace

void train_bound(Common& common, TrainFlags flags) {
  json config = load_config(flags.preset, flags.overrides);
  const TrainingOptions options =
      training_options(train_section(config, "bound"), "bound", {}, flags, common);
  const TrainingData data = load_training_data(flags, /*labels=*/true);
  require(data.train.world && data.test.world,
          "--data {}: a bound is trained on true counterfactuals, which this data set does not "
          "know; digits does",
          flags.data);
  fit_to_data(config, "unet", data.train, flags, common);
  const UNetConfig unet = Bound::configure(section(config, "unet").get<UNetConfig>(), data.train);
  const CleanBatches batches(data.train, {}, options.batch, options.seed, common.target());
  train_model<Bound>(
      common, flags, "bound", config, unet, data.train, options,
      [&](Bound&, int64_t step) {
        const CleanBatch b = batches.batch(step);
        const CounterfactualPairs pairs = draw_pairs(data.train, b.index, options.seed, step);
        const std::vector<double> targets(pairs.targets.begin(), pairs.targets.end());
        return TrainingBatch{b.x, condition_features(unet.conditions, targets, common.target()),
                             pairs.truth.to(common.target())};
      },
      [](Bound& bound, const TrainingBatch& batch, ForwardContext& context) {
        return mse_loss(bound.forward(batch[0], batch[1], context), batch[2]);
      },
      [&](Bound& bound) { return evaluate(common, bound, data.test, options.seed); });
}

}  // namespace diffscm::apps
