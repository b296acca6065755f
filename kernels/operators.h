// The catalogue: every operator of the project, once. A target is this table, filled.
#pragma once

#include "kernels/adamw.h"
#include "kernels/anderson.h"
#include "kernels/attention.h"
#include "kernels/bfloat16.h"
#include "kernels/conv2d.h"
#include "kernels/ddim_update.h"
#include "kernels/elementwise.h"
#include "kernels/error.h"
#include "kernels/group_norm.h"
#include "kernels/latent.h"
#include "kernels/linear_group.h"
#include "kernels/loss.h"
#include "kernels/matmul.h"
#include "kernels/pool.h"
#include "kernels/random.h"
#include "kernels/time_projections.h"
#include "kernels/variational_bound.h"

namespace diffscm::kernels {

// The catalogue, the one list of operators:
//   F32(name, Args)    name, on f32 storage
//   BOTH(name, Args)   name on f32 storage, Args<float>, and name_bf16 on bf16 storage, Args<bf16>
//   BF16(name, Args)   what only --precision bf16 asks for
// Every target implements F32 and the first of BOTH; emu and cuda, whose kernels are templates,
// implement all. A target's entry points and its table are made from this list, so that a kernel
// that is missing does not build.
#define DIFFSCM_OPERATORS(F32, BOTH, BF16)                                          \
  BOTH(conv2d, BasicConv2dArgs)                                                     \
  BF16(conv2d_f32_bf16, BasicConv2dArgs<float, bf16>)                               \
  BF16(conv2d_bf16_f32, BasicConv2dArgs<bf16, float>)                               \
  BF16(conv2d_normalised_bf16, NormalisedConv2dArgs)                                \
  BOTH(conv2d_backward_input, BasicConv2dBackwardInputArgs)                         \
  BF16(conv2d_backward_input_f32_bf16, BasicConv2dBackwardInputArgs<float, bf16>)   \
  BF16(conv2d_backward_input_bf16_f32, BasicConv2dBackwardInputArgs<bf16, float>)   \
  BOTH(conv2d_backward_weight, BasicConv2dBackwardWeightArgs)                       \
  BF16(conv2d_backward_weight_f32_bf16, BasicConv2dBackwardWeightArgs<float, bf16>) \
  BF16(conv2d_backward_weight_bf16_f32, BasicConv2dBackwardWeightArgs<bf16, float>) \
  BOTH(conv2d_pack, BasicConv2dPackArgs)                                            \
  BOTH(group_norm, BasicGroupNormArgs)                                              \
  BOTH(group_norm_backward, BasicGroupNormBackwardArgs)                             \
  BF16(group_norm_pooled_bf16, PooledNormArgs)                                      \
  BF16(group_norm_pooled_backward_bf16, PooledNormBackwardArgs)                     \
  BF16(norm_coefficients_bf16, NormCoefficientsArgs)                                \
  BOTH(attention, BasicAttentionArgs)                                               \
  BOTH(attention_backward, BasicAttentionBackwardArgs)                              \
  BOTH(matmul, BasicMatmulArgs)                                                     \
  BF16(matmul_bf16_f32, BasicMatmulArgs<bf16, float>)                               \
  BOTH(column_sum, BasicColumnSumArgs)                                              \
  F32(linear_group, LinearGroupArgs)                                                \
  F32(linear_group_backward, LinearGroupBackwardArgs)                               \
  F32(time_projections, TimeProjectionsArgs)                                        \
  BOTH(linear_combination, BasicLinearCombinationArgs)                              \
  BF16(cast_to_bf16, CastArgs<float, bf16>)                                         \
  BF16(cast_to_f32, CastArgs<bf16, float>)                                          \
  BOTH(silu, BasicSiluArgs)                                                         \
  BOTH(silu_backward, BasicSiluBackwardArgs)                                        \
  F32(relu, ReluArgs)                                                               \
  F32(relu_backward, ReluBackwardArgs)                                              \
  F32(timestep_embedding, TimestepEmbeddingArgs)                                    \
  F32(combine_samples, CombineSamplesArgs)                                          \
  F32(gather_rows, GatherRowsArgs)                                                  \
  F32(sample_dot, SampleDotArgs)                                                    \
  BOTH(avg_pool, BasicAvgPoolArgs)                                                  \
  BOTH(avg_pool_backward, BasicAvgPoolBackwardArgs)                                 \
  F32(max_pool, MaxPoolArgs)                                                        \
  F32(max_pool_backward, MaxPoolBackwardArgs)                                       \
  BOTH(pool_tokens, BasicPoolTokensArgs)                                            \
  BOTH(pool_tokens_backward, BasicPoolTokensBackwardArgs)                           \
  F32(gaussian_latent, GaussianLatentArgs)                                          \
  F32(gaussian_latent_backward, GaussianLatentBackwardArgs)                         \
  F32(mse, MseArgs)                                                                 \
  F32(variational_bound, VariationalBoundArgs)                                      \
  F32(log_softmax, LogSoftmaxArgs)                                                  \
  F32(normal, NormalArgs)                                                           \
  F32(ddim_update, DdimUpdateArgs)                                                  \
  F32(abs_quantile, AbsQuantileArgs)                                                \
  F32(anderson, AndersonArgs)                                                       \
  F32(adamw, AdamwArgs)

// A queue of work on a device; null is the target's default. On cpu and emu work is done at once.
struct Stream {
  void* handle = nullptr;
};

// One entry of the table. A call checks the arguments, check(args) beside the contract, so that a
// target only has to add its own limits. Throws Error when they break the contract, and, naming
// operator and target, when the target does not implement it.
template <class Args>
struct Operator {
  const char* name;
  const char* target;
  void (*run)(const Args&, Stream) = nullptr;

  explicit operator bool() const { return run != nullptr; }
  void operator()(const Args& args, Stream stream = {}) const {
    require(run != nullptr, "operator {} is not implemented on target {}", name, target);
    check(args);
    run(args, stream);
  }
};

// One member for each line of the list, and two for BOTH.
struct OperatorTable {
  explicit OperatorTable(const char* target_name) : target(target_name) {}

  const char* target;
#define DIFFSCM_MEMBER(name, ...) Operator<__VA_ARGS__> name{#name, target};
#define DIFFSCM_MEMBERS(name, Args) \
  DIFFSCM_MEMBER(name, Args<float>) \
  DIFFSCM_MEMBER(name##_bf16, Args<bf16>)
  DIFFSCM_OPERATORS(DIFFSCM_MEMBER, DIFFSCM_MEMBERS, DIFFSCM_MEMBER)
#undef DIFFSCM_MEMBERS
#undef DIFFSCM_MEMBER

  // The operator that takes these arguments. There is exactly one: arguments of no operator do not
  // compile, and neither does a list in which two operators share a type.
#define DIFFSCM_OF(name, ...)                                 \
  const Operator<__VA_ARGS__>& of(const __VA_ARGS__&) const { \
    return name;                                              \
  }
#define DIFFSCM_OF_BOTH(name, Args) \
  DIFFSCM_OF(name, Args<float>)     \
  DIFFSCM_OF(name##_bf16, Args<bf16>)
  DIFFSCM_OPERATORS(DIFFSCM_OF, DIFFSCM_OF_BOTH, DIFFSCM_OF)
#undef DIFFSCM_OF_BOTH
#undef DIFFSCM_OF

  // Calls visit(entry) for every entry, in the order of the list.
  template <class F>
  void each(F&& visit) const {
#define DIFFSCM_VISIT(name, ...) visit(name);
#define DIFFSCM_VISIT_BOTH(name, Args) visit(name), visit(name##_bf16);
    DIFFSCM_OPERATORS(DIFFSCM_VISIT, DIFFSCM_VISIT_BOTH, DIFFSCM_VISIT)
#undef DIFFSCM_VISIT_BOTH
#undef DIFFSCM_VISIT
  }
};

}  // namespace diffscm::kernels
