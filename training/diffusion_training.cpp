#include "training/diffusion_training.h"

#include "training/conditions.h"

namespace diffscm {

DiffusionTraining::DiffusionTraining(const data::Dataset& dataset, const NoiseSchedule& schedule,
                                     std::vector<Condition> conditions,
                                     const DiffusionTrainingOptions& options, Target target)
    : dataset_(dataset),
      schedule_(schedule),
      conditions_(std::move(conditions)),
      options_(options),
      target_(target),
      batches_(dataset, schedule, options.batch, options.seed, target, options.augmentation) {
  for (const Condition& c : conditions_) data::find_attribute(dataset.attributes, c.name);
}

TrainingBatch DiffusionTraining::batch(int64_t step) const {
  const NoisyBatch b = batches_.batch(step);
  TrainingBatch batch{b.x_t, b.t, b.noise};
  if (options_.min_snr) batch.push_back(min_snr_weights(schedule_, b.timesteps, target_));
  if (!conditions_.empty()) {
    std::vector<double> values = condition_values(conditions_, dataset_, b.index);
    forget(values, conditions_.size(), options_.drop, options_.seed, step);
    batch.push_back(condition_features(conditions_, values, target_));
  }
  return batch;
}

Variable DiffusionTraining::loss(const UNet& unet, const TrainingBatch& batch,
                                 ForwardContext& context) const {
  const Tensor features = conditions_.empty() ? Tensor() : batch.back();
  return mse_loss(unet.forward(batch[0], batch[1], context, features), batch[2],
                  options_.min_snr ? batch[3] : Tensor());
}

}  // namespace diffscm
