#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

#define DIFFSCM_NAME_(target) #target
#define DIFFSCM_NAME(target) DIFFSCM_NAME_(target)

const OperatorTable& operators() {
  static const OperatorTable table = [] {
    OperatorTable t{};
    t.target = DIFFSCM_NAME(DIFFSCM_TARGET);
    t.conv2d.run = conv2d;
    t.conv2d_backward_input.run = conv2d_backward_input;
    t.conv2d_backward_weight.run = conv2d_backward_weight;
    t.conv2d_pack.run = conv2d_pack;
    t.group_norm.run = group_norm;
    t.group_norm_backward.run = group_norm_backward;
    t.attention.run = attention;
    t.attention_backward.run = attention_backward;
    t.matmul.run = matmul;
    t.column_sum.run = column_sum;
    t.linear_combination.run = linear_combination;
    t.silu.run = silu;
    t.silu_backward.run = silu_backward;
    t.timestep_embedding.run = timestep_embedding;
    t.add_noise.run = add_noise;
    t.sample_dot.run = sample_dot;
    t.avg_pool.run = avg_pool;
    t.avg_pool_backward.run = avg_pool_backward;
    t.pool_tokens.run = pool_tokens;
    t.pool_tokens_backward.run = pool_tokens_backward;
    t.relu.run = relu;
    t.relu_backward.run = relu_backward;
    t.max_pool.run = max_pool;
    t.max_pool_backward.run = max_pool_backward;
    t.gaussian_latent.run = gaussian_latent;
    t.gaussian_latent_backward.run = gaussian_latent_backward;
    t.mse.run = mse;
    t.log_softmax.run = log_softmax;
    t.normal.run = normal;
    t.ddim_update.run = ddim_update;
    t.abs_quantile.run = abs_quantile;
    t.adamw.run = adamw;
    t.cast_to_bf16.run = cast;
    t.cast_to_f32.run = cast;
    t.conv2d_bf16.run = conv2d;
    t.conv2d_backward_input_bf16.run = conv2d_backward_input;
    t.conv2d_backward_weight_bf16.run = conv2d_backward_weight;
    t.group_norm_bf16.run = group_norm;
    t.group_norm_backward_bf16.run = group_norm_backward;
    t.attention_bf16.run = attention;
    t.attention_backward_bf16.run = attention_backward;
    t.matmul_bf16.run = matmul;
    t.matmul_bf16_f32.run = matmul;
    t.column_sum_bf16.run = column_sum;
    t.linear_combination_bf16.run = linear_combination;
    t.silu_bf16.run = silu;
    t.silu_backward_bf16.run = silu_backward;
    t.avg_pool_bf16.run = avg_pool;
    t.avg_pool_backward_bf16.run = avg_pool_backward;
    t.pool_tokens_bf16.run = pool_tokens;
    t.pool_tokens_backward_bf16.run = pool_tokens_backward;
    OperatorTable::each(t, [&](const char* name, auto& entry) {
      entry.name = name;
      entry.target = t.target;
    });
    return t;
  }();
  return table;
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
