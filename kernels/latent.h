// The latent of a variational autoencoder: a draw from its posterior and the posterior's divergence
// from the prior (Kingma & Welling 2014, sections 2.4 and appendix B).
#pragma once

#include <cstdint>

namespace diffscm::kernels {

// posterior [N, 2 L]: L means m, then L log variances v.
//   z[n,l] = m + exp(v / 2) noise[n,l]
//   kl[n]  = 1/2 sum_l (m^2 + exp(v) - 1 - v)          in nats, summed in double in a fixed order
struct GaussianLatentArgs {
  int64_t n, latent;
  const float* posterior;  // [N, 2 L]
  const float* noise;      // [N, L]
  float* z;                // [N, L]
  float* kl;               // [N]
};
void check(const GaussianLatentArgs&);
// dm = dz + dkl m;  dv = dz noise exp(v / 2) / 2 + dkl (exp(v) - 1) / 2. Overwritten.
struct GaussianLatentBackwardArgs {
  int64_t n, latent;
  const float* posterior;
  const float* noise;
  const float* dz;    // [N, L]
  const float* dkl;   // [N]
  float* dposterior;  // [N, 2 L]
};
void check(const GaussianLatentBackwardArgs&);

}  // namespace diffscm::kernels
