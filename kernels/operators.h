// The catalogue: every operator of the project, once. A target is this table, filled.
#pragma once

#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/bfloat16.h"
#include "kernels/conv2d.h"
#include "kernels/ddim_update.h"
#include "kernels/elementwise.h"
#include "kernels/error.h"
#include "kernels/group_norm.h"
#include "kernels/latent.h"
#include "kernels/loss.h"
#include "kernels/matmul.h"
#include "kernels/pool.h"
#include "kernels/random.h"

namespace diffscm::kernels {

// A queue of work on a device; null is the target's default. On cpu and emu work is done at once.
struct Stream {
  void* handle = nullptr;
};

// One entry of the table. Calling an entry that its target does not implement throws an Error
// naming the operator and the target.
template <class Args>
struct Operator {
  const char* name = "";
  const char* target = "";
  void (*run)(const Args&, Stream) = nullptr;

  explicit operator bool() const { return run != nullptr; }
  void operator()(const Args& args, Stream stream = {}) const {
    require(run != nullptr, "operator {} is not implemented on target {}", name, target);
    run(args, stream);
  }
};

struct OperatorTable {
  const char* target;

  Operator<Conv2dArgs> conv2d;
  Operator<Conv2dBackwardInputArgs> conv2d_backward_input;
  Operator<Conv2dBackwardWeightArgs> conv2d_backward_weight;
  Operator<Conv2dPackArgs> conv2d_pack;
  Operator<GroupNormArgs> group_norm;
  Operator<GroupNormBackwardArgs> group_norm_backward;
  Operator<AttentionArgs> attention;
  Operator<AttentionBackwardArgs> attention_backward;
  Operator<MatmulArgs> matmul;
  Operator<ColumnSumArgs> column_sum;
  Operator<LinearCombinationArgs> linear_combination;
  Operator<SiluArgs> silu;
  Operator<SiluBackwardArgs> silu_backward;
  Operator<TimestepEmbeddingArgs> timestep_embedding;
  Operator<AddNoiseArgs> add_noise;
  Operator<SampleDotArgs> sample_dot;
  Operator<AvgPoolArgs> avg_pool;
  Operator<AvgPoolBackwardArgs> avg_pool_backward;
  Operator<PoolTokensArgs> pool_tokens;
  Operator<PoolTokensBackwardArgs> pool_tokens_backward;
  Operator<ReluArgs> relu;
  Operator<ReluBackwardArgs> relu_backward;
  Operator<MaxPoolArgs> max_pool;
  Operator<MaxPoolBackwardArgs> max_pool_backward;
  Operator<GaussianLatentArgs> gaussian_latent;
  Operator<GaussianLatentBackwardArgs> gaussian_latent_backward;
  Operator<MseArgs> mse;
  Operator<LogSoftmaxArgs> log_softmax;
  Operator<NormalArgs> normal;
  Operator<DdimUpdateArgs> ddim_update;
  Operator<AbsQuantileArgs> abs_quantile;
  Operator<AdamwArgs> adamw;

  // The same operators on bf16 storage (--precision bf16), and the way there and back.
  Operator<CastArgs<float, bf16>> cast_to_bf16;
  Operator<CastArgs<bf16, float>> cast_to_f32;
  Operator<BasicConv2dArgs<bf16>> conv2d_bf16;
  Operator<BasicConv2dBackwardInputArgs<bf16>> conv2d_backward_input_bf16;
  Operator<BasicConv2dBackwardWeightArgs<bf16>> conv2d_backward_weight_bf16;
  Operator<BasicGroupNormArgs<bf16>> group_norm_bf16;
  Operator<BasicGroupNormBackwardArgs<bf16>> group_norm_backward_bf16;
  Operator<BasicAttentionArgs<bf16>> attention_bf16;
  Operator<BasicAttentionBackwardArgs<bf16>> attention_backward_bf16;
  Operator<BasicMatmulArgs<bf16>> matmul_bf16;
  Operator<BasicMatmulArgs<bf16, float>> matmul_bf16_f32;
  Operator<BasicColumnSumArgs<bf16>> column_sum_bf16;
  Operator<BasicLinearCombinationArgs<bf16>> linear_combination_bf16;
  Operator<BasicSiluArgs<bf16>> silu_bf16;
  Operator<BasicSiluBackwardArgs<bf16>> silu_backward_bf16;
  Operator<BasicAvgPoolArgs<bf16>> avg_pool_bf16;
  Operator<BasicAvgPoolBackwardArgs<bf16>> avg_pool_backward_bf16;
  Operator<BasicPoolTokensArgs<bf16>> pool_tokens_bf16;
  Operator<BasicPoolTokensBackwardArgs<bf16>> pool_tokens_backward_bf16;

  // Calls visit(operator) for every entry in the order above: one list serves naming, printing,
  // tests.
  template <class Self, class F>
  static void each(Self& t, F&& visit) {
    visit("conv2d", t.conv2d);
    visit("conv2d_backward_input", t.conv2d_backward_input);
    visit("conv2d_backward_weight", t.conv2d_backward_weight);
    visit("conv2d_pack", t.conv2d_pack);
    visit("group_norm", t.group_norm);
    visit("group_norm_backward", t.group_norm_backward);
    visit("attention", t.attention);
    visit("attention_backward", t.attention_backward);
    visit("matmul", t.matmul);
    visit("column_sum", t.column_sum);
    visit("linear_combination", t.linear_combination);
    visit("silu", t.silu);
    visit("silu_backward", t.silu_backward);
    visit("timestep_embedding", t.timestep_embedding);
    visit("add_noise", t.add_noise);
    visit("sample_dot", t.sample_dot);
    visit("avg_pool", t.avg_pool);
    visit("avg_pool_backward", t.avg_pool_backward);
    visit("pool_tokens", t.pool_tokens);
    visit("pool_tokens_backward", t.pool_tokens_backward);
    visit("relu", t.relu);
    visit("relu_backward", t.relu_backward);
    visit("max_pool", t.max_pool);
    visit("max_pool_backward", t.max_pool_backward);
    visit("gaussian_latent", t.gaussian_latent);
    visit("gaussian_latent_backward", t.gaussian_latent_backward);
    visit("mse", t.mse);
    visit("log_softmax", t.log_softmax);
    visit("normal", t.normal);
    visit("ddim_update", t.ddim_update);
    visit("abs_quantile", t.abs_quantile);
    visit("adamw", t.adamw);
    visit("cast_to_bf16", t.cast_to_bf16);
    visit("cast_to_f32", t.cast_to_f32);
    visit("conv2d_bf16", t.conv2d_bf16);
    visit("conv2d_backward_input_bf16", t.conv2d_backward_input_bf16);
    visit("conv2d_backward_weight_bf16", t.conv2d_backward_weight_bf16);
    visit("group_norm_bf16", t.group_norm_bf16);
    visit("group_norm_backward_bf16", t.group_norm_backward_bf16);
    visit("attention_bf16", t.attention_bf16);
    visit("attention_backward_bf16", t.attention_backward_bf16);
    visit("matmul_bf16", t.matmul_bf16);
    visit("matmul_bf16_f32", t.matmul_bf16_f32);
    visit("column_sum_bf16", t.column_sum_bf16);
    visit("linear_combination_bf16", t.linear_combination_bf16);
    visit("silu_bf16", t.silu_bf16);
    visit("silu_backward_bf16", t.silu_backward_bf16);
    visit("avg_pool_bf16", t.avg_pool_bf16);
    visit("avg_pool_backward_bf16", t.avg_pool_backward_bf16);
    visit("pool_tokens_bf16", t.pool_tokens_bf16);
    visit("pool_tokens_backward_bf16", t.pool_tokens_backward_bf16);
  }
};

}  // namespace diffscm::kernels
