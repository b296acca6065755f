// Weights that others trained, under guided-diffusion's names (Dhariwal & Nichol 2021, that code's
// unet.py): what they say about the network that they belong to.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "models/checkpoint.h"

namespace diffscm {

// Strips "module." and "_orig_mod." that wrappers put before every name, and takes out the tensors
// of Diff-SCM's code that no computation reads (class_embed, encoder_kv, where the network is told
// no class). Returns what it did, for people.
std::vector<std::string> tidy_names(NamedTensors& tensors);

struct ForeignNetwork {
  std::string kind;       // of U-Nets and classifiers
  nlohmann::json config;  // the entries that names and shapes decide
};

// `told`: num_res_blocks and image_size, as far as they are known, decide where a classifier's
// tensors leave a choice. Throws Error naming what the file lacks to be one of these
// networks, or what of guided-diffusion's networks diffscm does not have.
ForeignNetwork recognise_network(const NamedTensors& tensors, const nlohmann::json& told);

// Rearranges rows of a query-key-value projection, [3C,C,1] or [3C], in `heads` heads: between
// [q k v] head by head, as attention blocks have them, and [q of all heads, k .., v ..], as the
// attention pool does and guided-diffusion's use_new_attention_order.
Tensor chunked_from_per_head(const Tensor& projection, int64_t heads);
Tensor per_head_from_chunked(const Tensor& projection, int64_t heads);

}  // namespace diffscm
