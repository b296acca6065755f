#include "models/vae.h"

#include <algorithm>

namespace diffscm {

Vae::Vae(const VaeConfig& config, uint64_t seed) : Vae(config, Initializer(seed)) {}

Vae::Vae(const VaeConfig& config, Initializer init) : config_(config) {
  const auto& channels = config.channels;
  inner_ = config.image_size >> channels.size();
  int64_t in = config.in_channels;
  for (const int64_t out : channels) {
    down_.emplace_back(in, out, 3, init, Conv2dOptions{.stride = 2});
    in = out;
  }
  const int64_t flat = inner_ * inner_ * in;
  to_latent_ = Linear(flat, 2 * config.latent, init);
  from_latent_ = Linear(config.latent, flat, init);
  for (size_t i = channels.size(); i-- > 0;) {
    const int64_t out = i > 0 ? channels[i - 1] : config.in_channels;
    up_.emplace_back(in, out, 3, init, Conv2dOptions{.upsample = true});
    in = out;
  }
}

Variable Vae::encode(const Variable& x) const {
  require_input(x, config_.image_size, config_.in_channels, "VAE");
  Variable h = x;
  for (const Conv2d& conv : down_) h = silu(conv.forward(h));
  return to_latent_.forward(reshape(h, {h.dim(0), h.value().numel() / h.dim(0)}));
}

Variable Vae::decode(const Variable& z) const {
  require(z.value().rank() == 2 && z.dim(1) == config_.latent,
          "this VAE expects latents [N,{}], got {}", config_.latent, to_string(z.shape()));
  Variable h =
      reshape(silu(from_latent_.forward(z)), {z.dim(0), inner_, inner_, config_.channels.back()});
  for (size_t i = 0; i < up_.size(); ++i) {
    h = up_[i].forward(h);
    if (i + 1 < up_.size()) h = silu(h);
  }
  return h;
}

Variable Vae::loss(const Tensor& x, const Tensor& noise, double beta) const {
  const GaussianLatent latent = gaussian_latent(encode(x), noise);
  const auto pixels = static_cast<float>(x.numel() / x.dim(0));
  return add(scale(mse_loss(decode(latent.z), x), 0.5f * pixels),
             scale(latent.kl, static_cast<float>(beta)));
}

void Vae::visit(const ParameterVisitor& visitor) {
  for (size_t i = 0; i < down_.size(); ++i) down_[i].visit(fmt::format("encoder.{}", i), visitor);
  to_latent_.visit("to_latent", visitor);
  from_latent_.visit("from_latent", visitor);
  for (size_t i = 0; i < up_.size(); ++i) up_[i].visit(fmt::format("decoder.{}", i), visitor);
}

}  // namespace diffscm
