// Differentiable operators. Each is a free function: compute the value, then a lambda that captures
// what its backward needs. Images are [N,H,W,C], sequences [N,T,C], vectors [N,C], in f32 or bf16;
// the result has the dtype of the (first) input, and so have gradients between operators.
// Parameters and their gradients, scale_shift, losses and their inputs are f32 always.
#pragma once

#include <optional>

#include "autograd/variable.h"
#include "kernels/operators.h"

namespace diffscm {

struct Conv2dOptions {
  int stride = 1;
  bool upsample = false;  // read the input through nearest-x2
};
// x [N,H,W,C0], x1 [N,H,W,C1] or empty (concatenated behind x), weight [K,R,S,C0+C1], bias [K],
// residual [N,P,Q,K] or empty -> [N,P,Q,K]. Contract: kernels/conv2d.h.
// `result` is the dtype of y where that is not x's: then conv2d is as in f32 between casts, for the
// first and the last convolution of a network whose layers compute in bf16; no x1, no residual.
Variable conv2d(const Variable& x, const Variable& x1, const Variable& weight, const Variable& bias,
                const Variable& residual, const Conv2dOptions& options = {},
                std::optional<Dtype> result = {});

struct GroupNormOptions {
  int64_t groups = 32;
  float eps = 1e-5f;
  bool silu = false;
  kernels::Dropout dropout{};
};
// x [N,...,C0], x1 likewise or empty, gamma and beta [C], scale_shift [N,2C] or empty -> [N,...,C].
// Contract: kernels/group_norm.h.
Variable group_norm(const Variable& x, const Variable& x1, const Variable& gamma,
                    const Variable& beta, const Variable& scale_shift,
                    const GroupNormOptions& options = {});

// {avg_pool(group_norm(x, {}, gamma, beta, {}, options)), avg_pool(x)}, by one operator where there
// is one for it: bf16, SiLU, no dropout, and pooling_joins in kernels/group_norm.h.
struct PooledNorm {
  Variable normalised, x;
};
PooledNorm pooled_group_norm(const Variable& x, const Variable& gamma, const Variable& beta,
                             const GroupNormOptions& options);

// conv2d(group_norm(x, x1, gamma, beta, scale_shift, norm), {}, weight, bias, residual), without
// storing the normalised images where no parameter wants a gradient of what is recorded, and the
// operators can: normalisation_joins in kernels/conv2d.h. A shortcut takes the place of a residual:
// what is added is conv2d(x, x1, weight, bias, {}) of its own, of y's size through a 1x1 filter,
// and is not stored either.
struct Shortcut {
  Variable x, x1, weight, bias;
};
Variable normalised_conv2d(const Variable& x, const Variable& x1, const Variable& gamma,
                           const Variable& beta, const Variable& scale_shift,
                           const GroupNormOptions& norm, const Variable& weight,
                           const Variable& bias, const Variable& residual,
                           const Conv2dOptions& options = {}, const Shortcut& shortcut = {});

// x [..., in], weight [out, in], bias [out] or empty, residual [..., out] or empty -> [..., out].
Variable linear(const Variable& x, const Variable& weight, const Variable& bias,
                const Variable& residual = {});

// linear(x, weight, bias) for each layer, by one operator: x [..., in] f32, weights [out, in],
// biases [out] or empty, out differing from layer to layer -> [..., out] each. Contract:
// kernels/linear_group.h.
struct LinearParameters {
  Variable weight, bias;
};
std::vector<Variable> linear_group(const Variable& x, const std::vector<LinearParameters>& layers);

// qkv [N,T,3C] -> [N,queries,C]. Contract: kernels/attention.h.
Variable attention(const Variable& qkv, int64_t heads, kernels::QkvLayout layout, int64_t queries);

Variable add(const Variable& a, const Variable& b);  // same shape
Variable negate(const Variable& x);
Variable scale(const Variable& x, float factor);
Variable silu(const Variable& x);
Variable relu(const Variable& x);
Variable avg_pool(const Variable& x);  // 2x2, stride 2
Variable max_pool(const Variable& x);  // 2x2, stride 2
Variable upsample(const Variable& x);  // nearest neighbours: [N,H,W,C] -> [N,2H,2W,C]
Variable pool_tokens(const Variable& x, const Variable& position);  // kernels/pool.h
// x [N,..,C] + v [N,C] f32 at every pixel.
Variable add_to_pixels(const Variable& x, const Variable& v);
// The mean over the pixels of each map [N,H,W,C], one map behind the other: [N, sum of C] f32.
Variable mean_over_pixels(const std::vector<Variable>& maps);
// Elements [begin, end) of the first dimension of parameters (f32).
Variable slice(const Variable& x, int64_t begin, int64_t end);
Variable reshape(const Variable& x, Shape shape);
Variable cast(const Variable& x, Dtype dtype);  // f32 or bf16; the gradient is cast back

// A draw from a Gaussian posterior and its divergence from the prior. Contract: kernels/latent.h.
struct GaussianLatent {
  Variable z, kl;  // [N,L], [N]
};
GaussianLatent gaussian_latent(const Variable& posterior, const Tensor& noise);

// Losses, one value per sample: [N]. Seed backward() with 1/N each for the batch mean.
// mean_e (prediction - target)^2, times the sample's weight [N] if given (of its noise level, as in
// min-SNR weighting: Hang et al. 2023). target and weight are constants.
Variable mse_loss(const Variable& prediction, const Tensor& target, const Tensor& weight = {});
// What one step of the chain costs, in bits per number, of a network that estimates eps and v, both
// shaped like noise and x_t; step [N,4]. Only v receives a gradient. Contract:
// kernels/variational_bound.h.
Variable variational_bound(const Tensor& eps, const Variable& v, const Tensor& noise,
                           const Tensor& x_t, const Tensor& step);
// log softmax(logits)[label] per sample [N]; cross-entropy is minus its mean.
Variable log_softmax_at(const Variable& logits, const std::vector<int64_t>& labels);
// The same with labels [N] i64 in the target's memory, which only require_labels has checked.
Variable log_softmax_at(const Variable& logits, const Tensor& labels);
// Throws Error naming a label that is not one of the classes.
void require_labels(const std::vector<int64_t>& labels, int64_t classes);

// [N] timesteps -> [N, channels], cos first. No gradient.
Tensor timestep_embedding(const Tensor& t, int64_t channels, bool last_frequency = false);

}  // namespace diffscm
