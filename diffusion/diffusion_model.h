// A trained U-Net as the functions that the causal procedures ask for, with the chain it walks.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "diffusion/epsilon.h"
#include "diffusion/likelihood.h"
#include "diffusion/noise_schedule.h"
#include "models/checkpoint.h"
#include "models/unet.h"

namespace diffscm {

class DiffusionModel {
 public:
  // steps = 0: as many as the model's preset samples with. `layers`: f32 or bf16.
  DiffusionModel(const std::string& path, Target target, int steps, Dtype layers = Dtype::f32);
  // Of a network in `target`'s memory; info.diffusion names its schedule.
  DiffusionModel(LoadedModel<UNet> loaded, Target target, int steps, Dtype layers = Dtype::f32);

  const ModelInfo& info() const { return info_; }
  NoiseSchedule schedule() const;  // that it was trained on
  const Chain& chain() const { return *chain_; }
  Shape image_shape(int64_t n) const;  // [n, H, W, C]
  Target target() const { return target_; }
  Dtype layers() const { return layers_; }
  // Told nothing, in batches of any size. The functions share the network: they outlive this
  // object.
  EpsilonModel epsilon() const { return of_network({}); }
  // Told the parents of each image, one assignment per image: what is not among conditions() is
  // ignored, what is left out is not told. Throws Error for a category that does not exist, and
  // when the model is unconditional.
  EpsilonModel epsilon(std::span<const data::Assignment> parents) const;
  // The same networks with their Jacobian's products, for likelihoods; empty `parents`: told
  // nothing.
  DifferentiableEpsilon differentiable_epsilon(std::span<const data::Assignment> parents) const;
  // Whether ddpm can use a learnt variance (SamplerOptions::learnt), and that: v of the images that
  // any of the functions above was last asked about. They say it from the first call on.
  bool learns_variance() const { return unet_->config().learns_variance(); }
  std::function<Tensor()> learnt_variance() const;
  bool is_conditional() const { return !conditions().empty(); }
  const std::vector<Condition>& conditions() const { return unet_->config().conditions; }
  // Of conditions(), the first that is not among these; empty: all are.
  std::string first_unknown(const data::Assignment& known) const;
  // Throws Error unless the data set's images fit.
  void check_fits(const data::Dataset& dataset) const;

 private:
  Tensor features(std::span<const data::Assignment> parents) const;
  EpsilonModel of_network(EpsilonModel::Bound bound) const;

  ModelInfo info_;
  Target target_;
  Dtype layers_;
  std::shared_ptr<const UNet> unet_;
  struct Variance {
    bool wanted = false;
    Tensor v;
  };
  std::shared_ptr<Variance> variance_ = std::make_shared<Variance>();
  EpsilonModel::Network network_;  // unet_'s predict
  std::shared_ptr<const Chain> chain_;
};

}  // namespace diffscm
