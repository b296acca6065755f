// One step along the diffusion chain.
//
// The formulas are a dozen operations per element on up to five inputs, far below what memory can
// feed, so the kernel is built around traffic: every input is read once and every output written
// once, 16 bytes at a time, and all loads of a vector are issued before its first operation. Which
// inputs exist and what the threshold does is the same for every thread: those are branches that
// all take alike, not kernels of their own. One exception: registers must be kept for the inputs
// that may come, and threads that hold more registers are fewer. A step on x and eps alone, the
// common one, is compiled apart, and reads two vectors of each at once.
//
// The square roots of the two noise levels are needed in double (1 - alpha_bar cancels near the
// clean image), but double is slow on many GPUs. Four threads of a block take one root each and
// leave the coefficients in shared memory, so a block spends about the time of one root and one
// division. Computing them here rather than on the host is what lets a recorded step read its
// levels from memory.
//
// Multiply-adds are written out, so that nvcc and the emulator round alike. docs/kernels/
// ddim_update.md explains the step.
#include "kernels/cuda/device/elements.h"
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

// Coefficients of the formulas in the header, rounded to f32 once.
struct Coefficients {
  float root_a, inv_root_a, noise_a, inv_noise_a;  // noise_a = sqrt(1 - a)
  float root_b, direction;                         // of x0 and eps in the result
  float guidance, mean_shift, sigma, condition;
};

// Every thread of the block must call; valid after the next barrier.
__device__ inline void compute_coefficients(const DdimUpdateArgs& args, Coefficients& k) {
  if (threadIdx.x >= 4) return;
  const double a = args.levels ? args.levels[0] : args.alpha_bar;
  const double b = args.levels ? args.levels[1] : args.alpha_bar_next;
  const double rest = 1 - b - args.sigma * args.sigma;
  const double square = threadIdx.x == 0   ? a
                        : threadIdx.x == 1 ? 1 - a
                        : threadIdx.x == 2 ? b
                        : rest > 0         ? rest
                                           : 0.0;
  const double root = sqrt(square);
  switch (threadIdx.x) {
    case 0:
      k.root_a = static_cast<float>(root);
      k.inv_root_a = static_cast<float>(1 / root);
      break;
    case 1:
      k.noise_a = static_cast<float>(root);
      k.inv_noise_a = static_cast<float>(1 / root);
      k.guidance = static_cast<float>((args.scales ? args.scales[0] : args.guidance_scale) * root);
      break;
    case 2:
      k.root_b = static_cast<float>(root);
      k.mean_shift = static_cast<float>(args.mean_shift);
      k.sigma = static_cast<float>(args.sigma);
      k.condition = static_cast<float>(args.scales ? args.scales[1] : args.condition_scale);
      break;
    default:
      k.direction = static_cast<float>(root);
  }
}

template <int width>
struct Inputs {
  Numbers<width> x, eps, eps_uncond, gradient, noise;
  float limit = 1;  // of the threshold
};
template <int width>
struct Outputs {
  Numbers<width> x, x0;
};

// `plain`: eps_uncond, gradient and noise are known to be absent.
template <int width, bool plain>
__device__ inline Inputs<width> read_inputs(const DdimUpdateArgs& args, int64_t i) {
  Inputs<width> in;
  in.x = load_numbers<width>(args.x + i);
  in.eps = load_numbers<width>(args.eps + i);
  if (!plain && args.eps_uncond) in.eps_uncond = load_numbers<width>(args.eps_uncond + i);
  if (!plain && args.gradient) in.gradient = load_numbers<width>(args.gradient + i);
  if (!plain && args.noise) in.noise = load_numbers<width>(args.noise + i);
  if (args.threshold == Threshold::dynamic) {
    const float quantile = args.quantile[i / args.elements];
    in.limit = quantile > 1.0f ? quantile : 1.0f;
  }
  return in;
}

template <bool plain, int width>
__device__ inline Outputs<width> step(const DdimUpdateArgs& args, const Coefficients& k,
                                      const Inputs<width>& in) {
  Outputs<width> out;
  const float scale = 1.0f / in.limit;
#pragma unroll
  for (int j = 0; j < width; ++j) {
    const float x = in.x[j];
    float eps = in.eps[j];
    if (!plain && args.eps_uncond)
      eps = fmaf(k.condition, eps - in.eps_uncond[j], in.eps_uncond[j]);
    float x0 = fmaf(-k.noise_a, eps, x) * k.inv_root_a;
    if (args.threshold != Threshold::none) {
      // Written so that a NaN passes through.
      x0 = x0 > in.limit ? in.limit : x0;
      x0 = x0 < -in.limit ? -in.limit : x0;
      x0 *= scale;
      eps = fmaf(-k.root_a, x0, x) * k.inv_noise_a;
    }
    if (!plain && args.gradient) {
      eps = fmaf(-k.guidance, in.gradient[j], eps);
      x0 = fmaf(-k.noise_a, eps, x) * k.inv_root_a;
    }
    out.x0[j] = x0;
    float next = fmaf(k.root_b, x0, k.direction * eps);
    if (!plain && args.gradient) next = fmaf(k.mean_shift, in.gradient[j], next);
    if (!plain && args.noise) next = fmaf(k.sigma, in.noise[j], next);
    out.x[j] = next;
  }
  return out;
}

template <int width, bool plain>
__global__ void __launch_bounds__(kElementThreads) ddim_update_step(DdimUpdateArgs args) {
  follow_previous_kernel();
  auto& shared = shared_memory<Coefficients>();
  compute_coefficients(args, shared);
  __syncthreads();
  const Coefficients k = shared;
  for_each_vector<width, plain ? 2 : 1>(
      args.n * args.elements, [&](auto w, int64_t i) { return read_inputs<w, plain>(args, i); },
      [&](auto w, int64_t i, const auto& in) {
        const Outputs<w> out = step<plain>(args, k, in);
        store_numbers(args.out + i, out.x);
        if (args.x0) store_numbers(args.x0 + i, out.x0);
      });
}

template <bool plain>
void launch_step(int64_t size, bool vectors, Stream stream, const DdimUpdateArgs& args) {
  constexpr int kWidth = kVector<float>;
  launch_elements<ddim_update_step<kWidth, plain>, ddim_update_step<1, plain>>(
      size, kWidth, vectors, stream, args, sizeof(Coefficients));
}

}  // namespace

void ddim_update(const DdimUpdateArgs& args, Stream stream) {
  const int64_t size = args.n * args.elements;
  if (size == 0) return;
  constexpr int kWidth = kVector<float>;
  // With a limit per sample, a vector must not reach across two.
  const bool vectors = aligned16(args.x) && aligned16(args.eps) && aligned16(args.eps_uncond) &&
                       aligned16(args.gradient) && aligned16(args.noise) && aligned16(args.out) &&
                       aligned16(args.x0) &&
                       (args.threshold != Threshold::dynamic || args.elements % kWidth == 0);
  if (args.eps_uncond || args.gradient || args.noise)
    launch_step<false>(size, vectors, stream, args);
  else
    launch_step<true>(size, vectors, stream, args);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
