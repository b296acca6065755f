// The latent of a variational autoencoder has two results, z and kl: two nodes of the tape, each
// with the other's gradient at zero.
#include "autograd/functions.h"

namespace diffscm {
namespace {

Tensor posterior_gradient(const Tensor& posterior, const Tensor& noise, const Tensor& dz,
                          const Tensor& dkl) {
  Tensor dposterior(posterior.shape(), posterior.target());
  operators(posterior.target())
      .gaussian_latent_backward({noise.dim(0), noise.dim(1), posterior.data(), noise.data(),
                                 dz.data(), dkl.data(), dposterior.mutable_data()});
  return dposterior;
}

}  // namespace

GaussianLatent gaussian_latent(const Variable& posterior, const Tensor& noise) {
  const Tensor& p = posterior.value();
  require(p.rank() == 2 && noise.rank() == 2 && p.dim(0) == noise.dim(0) &&
              p.dim(1) == 2 * noise.dim(1),
          "gaussian_latent: posterior {} and noise {}", to_string(p.shape()),
          to_string(noise.shape()));
  const int64_t n = noise.dim(0);
  Tensor z(noise.shape(), p.target()), kl({n}, p.target());
  operators(p.target())
      .gaussian_latent(
          {n, noise.dim(1), p.data(), noise.data(), z.mutable_data(), kl.mutable_data()});
  return {Variable::result(z, {posterior},
                           [p, noise](const Tensor& dz, GradientSink& sink) {
                             const Tensor none = Tensor::zeros({noise.dim(0)}, p.target());
                             sink.add(0, posterior_gradient(p, noise, dz, none));
                           }),
          Variable::result(kl, {posterior}, [p, noise](const Tensor& dkl, GradientSink& sink) {
            const Tensor none = Tensor::zeros(noise.shape(), p.target());
            sink.add(0, posterior_gradient(p, noise, none, dkl));
          })};
}

}  // namespace diffscm
