// The latent of a variational autoencoder: a handful of numbers per sample, so a warp per sample,
// lanes over dimensions. The divergence is a sum in double over the lanes in a fixed order. Time is
// nothing here.
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;

__global__ void __launch_bounds__(kThreads) draw_latent(GaussianLatentArgs args) {
  follow_previous_kernel();
  const int64_t n = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  if (n >= args.n) return;
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  const float* mean = args.posterior + n * 2 * args.latent;
  const float* log_variance = mean + args.latent;
  double kl = 0;
  for (int64_t l = lane; l < args.latent; l += kWarp) {
    const double m = mean[l], v = log_variance[l];
    kl += 0.5 * (m * m + expm1(v) - v);
    args.z[n * args.latent + l] =
        fmaf(expf(0.5f * log_variance[l]), args.noise[n * args.latent + l], mean[l]);
  }
  kl = warp_sum(kl);
  if (lane == 0) args.kl[n] = static_cast<float>(kl);
}

__global__ void __launch_bounds__(kThreads) latent_gradient(GaussianLatentBackwardArgs args) {
  follow_previous_kernel();
  const int64_t n = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  if (n >= args.n) return;
  const float* mean = args.posterior + n * 2 * args.latent;
  const float* log_variance = mean + args.latent;
  float* dmean = args.dposterior + n * 2 * args.latent;
  float* dlog_variance = dmean + args.latent;
  const float dkl = args.dkl[n];
  for (int64_t l = threadIdx.x % kWarp; l < args.latent; l += kWarp) {
    const float dz = args.dz[n * args.latent + l], noise = args.noise[n * args.latent + l];
    dmean[l] = fmaf(dkl, mean[l], dz);
    dlog_variance[l] =
        0.5f * fmaf(dz * noise, expf(0.5f * log_variance[l]), dkl * expm1f(log_variance[l]));
  }
}

dim3 sample_grid(int64_t n) {
  return dim3(static_cast<unsigned>(ceil_div(n, kWarps)));
}

}  // namespace

void gaussian_latent(const GaussianLatentArgs& args, Stream stream) {
  if (args.n == 0) return;
  launch<draw_latent>(sample_grid(args.n), dim3(kThreads), 0, stream, args);
}

void gaussian_latent_backward(const GaussianLatentBackwardArgs& args, Stream stream) {
  if (args.n == 0) return;
  launch<latent_gradient>(sample_grid(args.n), dim3(kThreads), 0, stream, args);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
