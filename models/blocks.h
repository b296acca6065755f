// The blocks of the guided-diffusion U-Net (Dhariwal & Nichol 2021): residual, attention, attention
// pool. Names of parameters in files follow that code.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "kernels/time_projections.h"
#include "models/layers.h"

namespace diffscm {

// What the blocks of one network share.
struct BlockOptions {
  int64_t emb_channels;
  double dropout = 0;
  int64_t norm_groups = 32;
  double norm_eps = GroupNorm::kUsualEps;
  bool scale_shift = true;
};

// What a residual block does to the size of the image: 2x2 means, or nearest neighbours.
enum class Resample { none, down, up };

// x [N,H,W,C0] (with x1 [N,H,W,C1] concatenated, or empty) and told = emb(SiLU(embedding)), the
// time as this block sees it -> [N,H',W',out]:
//   h = conv3x3(resample(SiLU(GN(x))))
//   scale_shift: (scale, shift) = told [N,2 out],  h = GN(h) * (1 + scale) + shift
//   otherwise:   h = GN(h + told),  told [N,out]
//   y = skip(resample(x)) + conv3x3(dropout(SiLU(h)))
// skip is the identity, or a 1x1 convolution when channels change.
struct ResBlock {
  GroupNorm in_norm, out_norm;
  Conv2d in_conv, out_conv;
  Linear emb;
  std::optional<Conv2d> skip;
  Resample resample = Resample::none;
  bool scale_shift = true;
  double dropout = 0;

  ResBlock(int64_t in, int64_t out, const BlockOptions& options, Resample resample,
           Initializer& init);
  Variable forward(const Variable& x, const Variable& x1, const Variable& told,
                   ForwardContext& context) const;
  void visit(const std::string& prefix, const ParameterVisitor& visitor);
};

// x [N,H,W,C] -> x + proj(attention(qkv(GN(x)))) over the H*W pixels.
struct AttentionBlock {
  GroupNorm norm;
  Linear qkv, proj_out;
  int64_t heads;

  AttentionBlock(int64_t channels, int64_t heads, const BlockOptions& options, Initializer& init);
  Variable forward(const Variable& x) const;
  void visit(const std::string& prefix, const ParameterVisitor& visitor);
};

// x [N,H,W,C] -> [N,out]: tokens are the mean and the pixels, plus a learned position; the mean
// asks.
struct AttentionPool {
  Parameter position;  // [HW+1, C]
  Linear qkv_proj, c_proj;
  int64_t heads;

  AttentionPool(int64_t pixels, int64_t channels, int64_t heads, int64_t out, Initializer& init);
  Variable forward(const Variable& x) const;
  void visit(const std::string& prefix, const ParameterVisitor& visitor);
};

// SiLU(time_embed(t) + more): t [N] in original units -> Linear(C,4C), SiLU, Linear(4C,4C), plus
// `more` [N,4C] or empty, SiLU -> [N,4C]. Every residual block begins with the last SiLU, so it is
// applied once here. The embedding is cosines, then sines, of channels/2 frequencies from 1 down to
// almost 1/10000 (kernels/elementwise.h). With `last_frequency` they end at 1/10000 itself, as in
// Ho et al. 2020, and cosine and sine of each stand beside each other.
struct TimeEmbedding {
  Linear first, second;
  int64_t channels;
  bool last_frequency;

  TimeEmbedding(int64_t channels, bool last_frequency, Initializer& init);
  Variable forward(const Tensor& t, const Variable& more = {}) const;
  // What each of `layers` makes of that; by one operator where nothing of it learns.
  std::vector<Variable> tell(const Tensor& t, const Variable& more,
                             const std::vector<const Linear*>& layers) const;
  // The arguments of that operator; `more` may be empty.
  kernels::TimeProjectionsArgs projections(
      const Tensor& t, const Tensor& more,
      std::span<const kernels::LinearGroupArgs::Layer> layers) const;
  void visit(const std::string& prefix, const ParameterVisitor& visitor);

 private:
  // Hidden units. Each block of the one operator computes them anew: wider, that would cost more
  // than the launches that it saves.
  static constexpr int64_t kMostInOneOperator = 256;
};

}  // namespace diffscm
