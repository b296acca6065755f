// The rungs of the convolution ladder on the targets cuda and emu. kernels/cuda/conv2d.cu picks
// one; tests and benchmarks call run_* to force one. Every rung computes
// the contract of kernels/conv2d.h for every shape it supports.
#pragma once

#include <optional>
#include <string_view>

#include "kernels/cuda/device/cuda.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

enum class ConvRung {
  kNaive,  // one thread per element: what the contract says, nothing else
  kTiled,  // implicit matrix product in shared memory and registers, f32 arithmetic
  kMma,    // the same on tensor cores: bf16, channels in multiples of 8
  kWgmma,  // the same on Hopper's, in larger pieces: where mma could, elsewhere no wish
  kCudnn,  // NVIDIA's library, to compare with: only when asked for, only on cuda
};
const char* name(ConvRung rung);

// DIFFSCM_CONV, as it was first read; empty where it is not set.
std::string_view conv_wish();
// The value of DIFFSCM_CONV; empty, or a rung that only the cpu target has: no wish. Throws Error
// for an unknown one.
std::optional<ConvRung> parse_conv_rung(std::string_view value);
std::optional<ConvRung> conv_rung_from_environment();

// The targets' own limit on a shape; `operation` starts the message.
void check_conv_size(const char* operation, const ConvShape& shape);
// Throws unless `supported`: "<operation>: DIFFSCM_CONV=mma cannot do f32 with c0=...".
void require_conv_mma(bool supported, const char* operation, const ConvShape& shape,
                      const char* type);
template <class T>
constexpr const char* conv_type() {
  return sizeof(T) == sizeof(float) ? "f32" : "bf16";
}

template <class T>
void run_conv2d(const BasicConv2dArgs<T>& args, std::optional<ConvRung> rung, Stream stream);
template <class T>
void run_conv2d_backward_input(const BasicConv2dBackwardInputArgs<T>& args,
                               std::optional<ConvRung> rung, Stream stream);

// Without a wish where it supports the shape, by the strip (conv2d_mma_strip.cu), which normalises
// what it has copied; else a normalised copy is made, and convolved by the rung.
void run_conv2d_normalised(const NormalisedConv2dArgs& args, std::optional<ConvRung> rung,
                           Stream stream);

// The rungs themselves. (conv2d_backward_weight.h has the others of
// the weight gradient.)
template <class T, class Y>
void conv2d_naive(const BasicConv2dArgs<T, Y>& args, Stream stream);
template <class T, class Y>
void conv2d_backward_input_naive(const BasicConv2dBackwardInputArgs<T, Y>& args, Stream stream);
template <class T>
void conv2d_backward_weight_naive(const BasicConv2dBackwardWeightArgs<T>& args, Stream stream);

template <class T, class Y>
void conv2d_tiled(const BasicConv2dArgs<T, Y>& args, Stream stream);
template <class T, class Y>
void conv2d_backward_input_tiled(const BasicConv2dBackwardInputArgs<T, Y>& args, Stream stream);

bool conv2d_mma_supports(const BasicConv2dArgs<bf16>& args);
void conv2d_mma(const BasicConv2dArgs<bf16>& args, Stream stream);
void conv2d_mma_pack(const BasicConv2dPackArgs<bf16>& args, Stream stream);
bool conv2d_normalised_strip_supports(const NormalisedConv2dArgs& args);
void conv2d_normalised_strip(const NormalisedConv2dArgs& args, Stream stream);
bool conv2d_backward_input_mma_supports(const BasicConv2dBackwardInputArgs<bf16>& args);
void conv2d_backward_input_mma(const BasicConv2dBackwardInputArgs<bf16>& args, Stream stream);

// Whether it takes the place of mma without a wish, as measured on an H100
// (bench/results/nvidia-h100-80gb-hbm3): on a device that has it, with 128 channels or more on both
// sides if the results, [pixels, channels], are a tile for each multiprocessor, and with 192 if
// not, in slices: then they must be one tensor.
bool wgmma_pays(const ConvShape& shape, int64_t pixels, int64_t channels, bool one_tensor);
bool conv2d_wgmma_supports(const BasicConv2dArgs<bf16>& args);
void conv2d_wgmma(const BasicConv2dArgs<bf16>& args, Stream stream);
bool conv2d_backward_input_wgmma_supports(const BasicConv2dBackwardInputArgs<bf16>& args);
void conv2d_backward_input_wgmma(const BasicConv2dBackwardInputArgs<bf16>& args, Stream stream);

template <class T>
void conv2d_cudnn(const BasicConv2dArgs<T>& args, Stream stream);
template <class T>
void conv2d_backward_input_cudnn(const BasicConv2dBackwardInputArgs<T>& args, Stream stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
