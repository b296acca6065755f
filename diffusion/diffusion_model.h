// A trained U-Net as the function that the causal procedures ask for, with the chain it walks.
#pragma once

#include <memory>
#include <string>

#include "data/dataset.h"
#include "diffusion/epsilon.h"
#include "diffusion/noise_schedule.h"
#include "models/checkpoint.h"
#include "models/unet.h"

namespace diffscm {

class DiffusionModel {
 public:
  // steps = 0: as many as the model's preset samples with. `layers`: f32 or bf16.
  DiffusionModel(const std::string& path, Target target, int steps, Dtype layers = Dtype::f32);

  const ModelInfo& info() const { return info_; }
  const Chain& chain() const { return *chain_; }
  Shape image_shape(int64_t n) const;  // [n, H, W, C]
  Target target() const { return target_; }
  Dtype layers() const { return layers_; }
  EpsilonModel epsilon() const;
  // Throws Error unless the data set's images fit.
  void check_fits(const data::Dataset& dataset) const;

 private:
  ModelInfo info_;
  Target target_;
  Dtype layers_;
  std::unique_ptr<UNet> unet_;
  std::unique_ptr<Chain> chain_;
};

}  // namespace diffscm
