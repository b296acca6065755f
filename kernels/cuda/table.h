// The entry points of the targets cuda and emu, which are compiled from the same files, and their
// filled table.
#pragma once

#include "kernels/cuda/device/cuda.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

const OperatorTable& operators();

template <class T>
void conv2d(const BasicConv2dArgs<T>&, Stream);
template <class T>
void conv2d_backward_input(const BasicConv2dBackwardInputArgs<T>&, Stream);
template <class T>
void conv2d_backward_weight(const BasicConv2dBackwardWeightArgs<T>&, Stream);
void conv2d_pack(const Conv2dPackArgs&, Stream);
template <class T>
void group_norm(const BasicGroupNormArgs<T>&, Stream);
template <class T>
void group_norm_backward(const BasicGroupNormBackwardArgs<T>&, Stream);
template <class T>
void attention(const BasicAttentionArgs<T>&, Stream);
template <class T>
void attention_backward(const BasicAttentionBackwardArgs<T>&, Stream);
template <class T, class U>
void matmul(const BasicMatmulArgs<T, U>&, Stream);
template <class T>
void column_sum(const BasicColumnSumArgs<T>&, Stream);
template <class T>
void linear_combination(const BasicLinearCombinationArgs<T>&, Stream);
template <class From, class To>
void cast(const CastArgs<From, To>&, Stream);
template <class T>
void silu(const BasicSiluArgs<T>&, Stream);
template <class T>
void silu_backward(const BasicSiluBackwardArgs<T>&, Stream);
void timestep_embedding(const TimestepEmbeddingArgs&, Stream);
void add_noise(const AddNoiseArgs&, Stream);
void sample_dot(const SampleDotArgs&, Stream);
template <class T>
void avg_pool(const BasicAvgPoolArgs<T>&, Stream);
template <class T>
void avg_pool_backward(const BasicAvgPoolBackwardArgs<T>&, Stream);
template <class T>
void pool_tokens(const BasicPoolTokensArgs<T>&, Stream);
template <class T>
void pool_tokens_backward(const BasicPoolTokensBackwardArgs<T>&, Stream);
void relu(const ReluArgs&, Stream);
void relu_backward(const ReluBackwardArgs&, Stream);
void max_pool(const MaxPoolArgs&, Stream);
void max_pool_backward(const MaxPoolBackwardArgs&, Stream);
void gaussian_latent(const GaussianLatentArgs&, Stream);
void gaussian_latent_backward(const GaussianLatentBackwardArgs&, Stream);
void mse(const MseArgs&, Stream);
void log_softmax(const LogSoftmaxArgs&, Stream);
void normal(const NormalArgs&, Stream);
void ddim_update(const DdimUpdateArgs&, Stream);
void abs_quantile(const AbsQuantileArgs&, Stream);
void adamw(const AdamwArgs&, Stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
