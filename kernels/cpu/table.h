// The cpu target's entry points, one file per operator family, and its filled table.
#pragma once

#include "kernels/operators.h"

namespace diffscm::kernels::cpu {

const OperatorTable& operators();

void conv2d(const Conv2dArgs&, Stream);
void conv2d_backward_input(const Conv2dBackwardInputArgs&, Stream);
void conv2d_backward_weight(const Conv2dBackwardWeightArgs&, Stream);
void conv2d_pack(const Conv2dPackArgs&, Stream);
void group_norm(const GroupNormArgs&, Stream);
void group_norm_backward(const GroupNormBackwardArgs&, Stream);
void attention(const AttentionArgs&, Stream);
void attention_backward(const AttentionBackwardArgs&, Stream);
void matmul(const MatmulArgs&, Stream);
void column_sum(const ColumnSumArgs&, Stream);
void linear_combination(const LinearCombinationArgs&, Stream);
void silu(const SiluArgs&, Stream);
void silu_backward(const SiluBackwardArgs&, Stream);
void timestep_embedding(const TimestepEmbeddingArgs&, Stream);
void add_noise(const AddNoiseArgs&, Stream);
void sample_dot(const SampleDotArgs&, Stream);
void avg_pool(const AvgPoolArgs&, Stream);
void avg_pool_backward(const AvgPoolBackwardArgs&, Stream);
void pool_tokens(const PoolTokensArgs&, Stream);
void pool_tokens_backward(const PoolTokensBackwardArgs&, Stream);
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

}  // namespace diffscm::kernels::cpu
