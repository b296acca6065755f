// A U-Net's answer from one kernel: the top rung, for inference in bf16 of networks whose
// activations fit into a multiprocessor's shared memory (kernels/whole_network.h).
#pragma once

#include <map>
#include <string>

#include "engine/tensor.h"
#include "models/whole_network_plan.h"

namespace diffscm {

// DIFFSCM_UNET=whole|layers; unset is layers: the other has not run on a GPU yet. Throws Error for
// anything else.
bool whole_network_wanted();

// Why a network is not computed so on this target; empty: it is.
std::string whole_network_unfit(const UNetConfig& config, Target target);

// x [N,H,W,C] f32 and emb [N,E], what the residual blocks are told -> eps, of x's shape; or an
// empty tensor: not this network, not on this target, which is said once on the standard error; or
// while a step is recorded for which it was not prepared. parameters: by their names in files.
Tensor whole_network_eps(const UNetConfig& config, const std::map<std::string, Tensor>& parameters,
                         const Tensor& x, const Tensor& emb);

}  // namespace diffscm
