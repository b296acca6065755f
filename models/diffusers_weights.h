// Weights under the names of diffusers' UNet2DModel, such as the unconditional DDPM checkpoints (Ho
// et al. 2020), brought to guided-diffusion's. Checked against diffusers 0.42
// (bench/peers/golden_diffusers.py).
#pragma once

#include <nlohmann/json.hpp>

#include "models/checkpoint.h"

namespace diffscm {

bool has_diffusers_names(const NamedTensors& tensors);

// What the file config.json beside the weights says; what it lacks has diffusers' default.
struct DiffusersConfig {
  bool sines_first = false, last_frequency = false, one_sided = false;
  int64_t head_channels = 0;  // 0: one head
  nlohmann::json entries;     // of our configuration
};
// Throws Error naming what our U-Net cannot do.
DiffusersConfig parse_diffusers_config(const nlohmann::json& config);

// Renames and rearranges the tensors: queries, keys and values become one projection, head by head;
// the first layer of the time embedding reads cosines before sines or, with the last frequency
// (models/blocks.h), each beside its sine; where halving convolutions are padded at one side all
// filters are turned (models/unet.h). Tensors that UNet2DModel does not have keep their names.
// Returns the entries of our configuration that are decided. Throws Error naming a tensor that is
// missing or misshapen.
nlohmann::json from_diffusers(NamedTensors& tensors, const DiffusersConfig& config);

// The schedule and timesteps of a scheduler_config.json. Throws Error for those that we have not.
nlohmann::json diffusion_from_diffusers(const nlohmann::json& scheduler);

}  // namespace diffscm
