// One iteration of Anderson acceleration: a block per image, which goes through the image's
// elements a few times over. An image of this project and its secants lie in the L2 cache from the
// first time on; the network that is evaluated between two iterations takes a thousand times as
// long. What counts is that the host need not know: acceptance, coefficients and stopping are
// decided here, by one thread of the block (kernels/anderson_step.h), from sums in double that all
// threads add up in a fixed order.
//
// A thread meets the same elements in every pass, so that no barrier stands between what it writes
// and reads again.
#include "kernels/anderson_step.h"
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int kThreads = 256;

struct AndersonShared {
  double sums[kThreads / kWarp];
  AndersonState state;  // of the block's image
  bool best, finite;
  double gamma[kAndersonMemoryMost];
  AndersonScratch scratch;
  AndersonCoefficients coefficients;
  float factor;
};

// term(e) of this thread's elements, summed over the block's.
template <class Term>
__device__ inline double sum_elements(int64_t elements, AndersonShared& shared, Term term) {
  double sum = 0;
#pragma unroll 2
  for (int64_t e = threadIdx.x; e < elements; e += kThreads) sum += term(e);
  return block_sum<kThreads>(sum, shared.sums);
}

__device__ inline double product(float a, float b) {
  return static_cast<double>(a) * static_cast<double>(b);
}

__global__ void __launch_bounds__(kThreads) anderson_iteration(AndersonArgs args) {
  follow_previous_kernel();
  auto& shared = shared_memory<AndersonShared>();
  const int64_t row = args.rows[blockIdx.x];
  if (row < 0 || row >= args.images) return;
  double* memory = args.state + row * anderson_state_size(args.memory);
  auto& state = *reinterpret_cast<AndersonState*>(memory);
  double* products = memory + sizeof(AndersonState) / sizeof(double);
  if (state.finished != 0) return;

  const int64_t elements = args.elements, at = row * elements;
  const int64_t secant = args.images * elements;  // from one to the next
  const float* y = args.y + at;
  const float* below = args.below + blockIdx.x * elements;
  const float* eps_trial = args.eps_trial + blockIdx.x * elements;
  float* trial = args.trial + blockIdx.x * elements;
  float *x = args.x + at, *f = args.f + at, *eps = args.eps + at;
  float* dx = args.memory > 0 ? args.dx + at : nullptr;
  float* df = args.memory > 0 ? args.df + at : nullptr;
  const bool judges = threadIdx.x == 0;
  const auto count = static_cast<double>(elements);

  const double square = sum_elements(elements, shared, [&](int64_t e) {
    const float now = y[e] - below[e];
    return product(now, now);
  });
  if (judges) {
    shared.state = state;
    shared.finite = is_finite(square);
    shared.best = judge_trial(shared.state, args, sqrt(square / count));
  }
  __syncthreads();
  const int columns = secants(shared.state, args.memory);
  const int newest = columns > 0 ? newest_secant(shared.state, args.memory) : 0;
  const bool best = shared.best, finite = shared.finite, finished = shared.state.finished != 0;
  for (int64_t e = threadIdx.x; e < elements; e += kThreads) {
    const float now = y[e] - below[e];
    if (columns > 0) {
      df[newest * secant + e] = finite ? now - f[e] : 0.0f;
      if (!finite) dx[newest * secant + e] = 0;
    }
    if (best) {
      x[e] = trial[e];
      f[e] = now;
      eps[e] = eps_trial[e];
    }
    if (finished) trial[e] = x[e];
  }
  if (finished) {
    if (judges) state = shared.state;
    return;
  }

  for (int j = 0; j < columns; ++j) {
    const float *mine = df + newest * secant, *other = df + j * secant;
    const double gram =
        sum_elements(elements, shared, [&](int64_t e) { return product(mine[e], other[e]); });
    const double explains =
        sum_elements(elements, shared, [&](int64_t e) { return product(other[e], f[e]); });
    if (judges) {
      products[newest * args.memory + j] = products[j * args.memory + newest] = gram;
      products[args.memory * args.memory + j] = explains;
    }
  }
  if (judges)
    next_step(shared.state, products, args.memory, args.plain, shared.scratch, shared.gamma,
              shared.coefficients);
  __syncthreads();
  const AndersonCoefficients& c = shared.coefficients;
  const double long_square = sum_elements(elements, shared, [&](int64_t e) {
    float step = c.mixing * f[e];
    for (int j = 0; j < columns; ++j) {
      step = fmaf(-c.along[j], dx[j * secant + e], step);
      step = fmaf(-c.residual[j], df[j * secant + e], step);
    }
    trial[e] = step;
    return product(step, step);
  });
  if (judges) {
    shared.factor = shortened(shared.state, sqrt(long_square / count));
    state = shared.state;
  }
  __syncthreads();
  // Where the step will be a secant.
  float* next_dx = args.memory == 0
                       ? nullptr
                       : dx + (newest_secant(shared.state, args.memory) + 1) % args.memory * secant;
  for (int64_t e = threadIdx.x; e < elements; e += kThreads) {
    const float step = shared.factor * trial[e];
    if (next_dx) next_dx[e] = step;
    trial[e] = x[e] + step;
  }
}

}  // namespace

void anderson(const AndersonArgs& args, Stream stream) {
  if (args.n == 0) return;
  launch<anderson_iteration>(dim3(static_cast<unsigned>(args.n)), kThreads, sizeof(AndersonShared),
                             stream, args);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
