#include "training/diffusion_training.h"

#include "training/conditions.h"
#include "training/variational_bound.h"

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
  if (options_.variance) batch.push_back(bound_steps(schedule_, b.timesteps, target_));
  if (!conditions_.empty()) {
    std::vector<double> values = condition_values(conditions_, dataset_, b.index);
    forget(values, conditions_.size(), options_.drop, options_.seed, step);
    batch.push_back(condition_features(conditions_, values, target_));
  }
  return batch;
}

TrainingLoss DiffusionTraining::loss(const UNet& unet, const TrainingBatch& batch,
                                     ForwardContext& context) const {
  const Tensor &x_t = batch[0], &t = batch[1], &noise = batch[2];
  const Tensor weight = options_.min_snr ? batch[3] : Tensor();
  const Tensor features = conditions_.empty() ? Tensor() : batch.back();
  const UNet::Estimates out = unet.estimates(x_t, t, context, features);
  const Variable mse = mse_loss(out.eps, noise, weight);
  if (!options_.variance) return mse;
  const Tensor& steps = batch[options_.min_snr ? 4 : 3];
  const Variable vlb = variational_bound(out.eps.value(), out.v, noise, x_t, steps);
  return {add(mse, scale(vlb, static_cast<float>(bound_weight(schedule_)))),
          {mse.value(), vlb.value()}};
}

std::vector<std::string> DiffusionTraining::parts() const {
  if (!options_.variance) return {};
  return {"mse", "vlb"};
}

}  // namespace diffscm
