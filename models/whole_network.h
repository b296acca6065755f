// A U-Net's answer from one kernel: the top rung, for inference in bf16 of networks whose
// activations fit into a multiprocessor's shared memory (kernels/whole_network.h).
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>

#include "engine/tensor.h"
#include "kernels/linear_group.h"
#include "models/whole_network_plan.h"

namespace diffscm {

// DIFFSCM_UNET=whole|layers; unset is whole on a GPU, layers in the emulator, which takes longer
// for the other, and where DIFFSCM_CONV or DIFFSCM_GEMM says how layers are computed. Throws Error
// for anything else.
bool whole_network_wanted(Target target);

// Why a network is not computed so on this target; empty: it is.
std::string whole_network_unfit(const UNetConfig& config, Target target);

// Writes what these layers, one for each residual block, make of time and condition.
using Tell = std::function<void(std::span<const kernels::LinearGroupArgs::Layer>)>;

// x [N,H,W,C] f32 -> eps, of x's shape; or an empty tensor: not this network, not on this target,
// which is said once on the standard error where DIFFSCM_UNET=whole asks for it; or while a step is
// recorded for which it was not prepared. parameters: by their names in files.
Tensor whole_network_eps(const UNetConfig& config, const std::map<std::string, Tensor>& parameters,
                         const Tensor& x, const Tell& tell);

// No GPU had run the kernel when it became the first choice: the first answer for a network like
// this one in a process is compared with `layers`' for the same images. Throws Error where an image
// differs by more than rounding explains.
void check_first_whole_network(const UNetConfig& config, const Tensor& eps,
                               const std::function<Tensor()>& layers);
// The comparison. [N,H,W,C] f32 each.
void check_whole_network(const Tensor& eps, const Tensor& layers);

}  // namespace diffscm
