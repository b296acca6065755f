// The latent of a variational autoencoder. A few numbers per sample: plain arithmetic, one sample
// per task.
#include "kernels/latent.h"

#include <cmath>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/table.h"

namespace diffscm::kernels::cpu {

void gaussian_latent(const GaussianLatentArgs& args, Stream) {
  if (args.n == 0) return;
  parallel_tasks(args.n, args.n * args.latent, [&](int64_t n) {
    const float* mean = args.posterior + n * 2 * args.latent;
    const float* log_variance = mean + args.latent;
    double kl = 0;
    for (int64_t l = 0; l < args.latent; ++l) {
      const double m = mean[l], v = log_variance[l];
      kl += 0.5 * (m * m + std::expm1(v) - v);
      args.z[n * args.latent + l] =
          mean[l] + std::exp(0.5f * log_variance[l]) * args.noise[n * args.latent + l];
    }
    args.kl[n] = static_cast<float>(kl);
  });
}

void gaussian_latent_backward(const GaussianLatentBackwardArgs& args, Stream) {
  if (args.n == 0) return;
  parallel_tasks(args.n, args.n * args.latent, [&](int64_t n) {
    const float* mean = args.posterior + n * 2 * args.latent;
    const float* log_variance = mean + args.latent;
    float* dmean = args.dposterior + n * 2 * args.latent;
    float* dlog_variance = dmean + args.latent;
    for (int64_t l = 0; l < args.latent; ++l) {
      const float dz = args.dz[n * args.latent + l], noise = args.noise[n * args.latent + l];
      dmean[l] = dz + args.dkl[n] * mean[l];
      dlog_variance[l] = 0.5f * (dz * noise * std::exp(0.5f * log_variance[l]) +
                                 args.dkl[n] * std::expm1(log_variance[l]));
    }
  });
}

}  // namespace diffscm::kernels::cpu
