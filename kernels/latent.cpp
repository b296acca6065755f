#include "kernels/latent.h"

#include "kernels/error.h"

namespace diffscm::kernels {

void check(const GaussianLatentArgs& args) {
  require(args.n >= 0 && args.latent >= 1,
          "gaussian_latent: n is {} and latent {}, expected >= 0 and >= 1", args.n, args.latent);
  require(args.n == 0 || (args.posterior && args.noise && args.z && args.kl),
          "gaussian_latent: an array is null");
}

void check(const GaussianLatentBackwardArgs& args) {
  require(args.n >= 0 && args.latent >= 1,
          "gaussian_latent_backward: n is {} and latent {}, expected >= 0 and >= 1", args.n,
          args.latent);
  require(args.n == 0 || (args.posterior && args.noise && args.dz && args.dkl && args.dposterior),
          "gaussian_latent_backward: an array is null");
}

}  // namespace diffscm::kernels
