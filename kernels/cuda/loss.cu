// Losses: the value and its gradient in one pass.
//
// Mean squared error. A sample is cut into chunks, one block each, by its size alone. A block adds
// up its squares in double (contract) and writes the gradient on the way: prediction and target are
// read once. With one chunk the block has the loss; with more, a second kernel adds the chunks up
// in order.
//
// Log-softmax. A handful of classes per sample: a warp per sample, lanes over classes, in double.
// Time is nothing here, so the arithmetic is that of the cpu target.
#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kChunk = 32 * kThreads;  // elements

struct MseShared {
  double scratch[kThreads / kWarp];
};

template <int V>
__global__ void __launch_bounds__(kThreads)
    squared_error(MseArgs args, int64_t chunks, float scale, double* partials) {
  follow_previous_kernel();
  MseShared& shared = shared_memory<MseShared>();
  const int64_t n = blockIdx.x / chunks, chunk = blockIdx.x % chunks;
  const int64_t base = n * args.elements;
  const int64_t end = (chunk + 1) * kChunk < args.elements ? (chunk + 1) * kChunk : args.elements;
  double sum = 0;
#pragma unroll 4
  for (int64_t e = chunk * kChunk + threadIdx.x * V; e < end; e += kThreads * V) {
    const auto p = load<V>(args.prediction + base + e), t = load<V>(args.target + base + e);
    Vector<float, V> gradient;
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const double d = static_cast<double>(p[j]) - static_cast<double>(t[j]);
      sum += d * d;
      gradient[j] = scale * (p[j] - t[j]);
    }
    if (args.gradient != nullptr) store<V>(args.gradient + base + e, gradient);
  }
  sum = block_sum<kThreads>(sum, shared.scratch);
  if (threadIdx.x != 0) return;
  if (chunks == 1) {
    args.loss[n] = static_cast<float>(sum / static_cast<double>(args.elements));
  } else {
    partials[blockIdx.x] = sum;
  }
}

__global__ void __launch_bounds__(kThreads)
    sum_chunks(MseArgs args, int64_t chunks, const double* partials) {
  follow_previous_kernel();
  const int64_t n = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (n >= args.n) return;
  double sum = 0;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) sum += partials[n * chunks + chunk];
  args.loss[n] = static_cast<float>(sum / static_cast<double>(args.elements));
}

template <int V>
void run_mse(const MseArgs& args, Stream stream) {
  const int64_t chunks = ceil_div(args.elements, kChunk);
  const float scale = static_cast<float>(2.0 * args.weight / static_cast<double>(args.elements));
  require(args.n * chunks < int64_t{1} << 31,
          "mse: {} samples of {} elements are more than a launch can have", args.n, args.elements);
  double* partials = nullptr;
  if (chunks > 1) {
    partials = static_cast<double*>(
        workspace(static_cast<size_t>(args.n * chunks) * sizeof(double), stream));
  }
  launch<squared_error<V>>(static_cast<unsigned>(args.n * chunks), kThreads, sizeof(MseShared),
                           stream, args, chunks, scale, partials);
  if (chunks > 1) {
    launch<sum_chunks>(static_cast<unsigned>(ceil_div(args.n, kThreads)), kThreads, 0, stream, args,
                       chunks, partials);
  }
}

__global__ void __launch_bounds__(kThreads) log_softmax_rows(LogSoftmaxArgs args) {
  follow_previous_kernel();
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t n = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) / kWarp;
  if (n >= args.n) return;  // a whole warp
  const float* logits = args.logits + n * args.classes;
  float highest = logits[0];
  for (int64_t k = lane; k < args.classes; k += kWarp)
    highest = logits[k] > highest ? logits[k] : highest;
  highest = warp_max(highest);
  double sum = 0;
  for (int64_t k = lane; k < args.classes; k += kWarp)
    sum += exp(static_cast<double>(logits[k]) - static_cast<double>(highest));
  const double lse = static_cast<double>(highest) + log(warp_sum(sum));

  const int64_t label = args.label[n];
  const bool exists = label >= 0 && label < args.classes;
  const float nan = __uint_as_float(0x7fffffffu);
  if (lane == 0)
    args.log_p[n] = exists ? static_cast<float>(static_cast<double>(logits[label]) - lse) : nan;
  if (args.probability == nullptr && args.gradient == nullptr) return;
  for (int64_t k = lane; k < args.classes; k += kWarp) {
    const double p = exp(static_cast<double>(logits[k]) - lse);
    const double gradient = static_cast<double>(args.weight) * ((k == label ? 1.0 : 0.0) - p);
    if (args.probability != nullptr) args.probability[n * args.classes + k] = static_cast<float>(p);
    if (args.gradient != nullptr)
      args.gradient[n * args.classes + k] = exists ? static_cast<float>(gradient) : nan;
  }
}

}  // namespace

void mse(const MseArgs& args, Stream stream) {
  if (args.n == 0) return;
  const bool vectors = args.elements % 4 == 0 && aligned16(args.prediction) &&
                       aligned16(args.target) && aligned16(args.gradient);
  vectors ? run_mse<4>(args, stream) : run_mse<1>(args, stream);
}

void log_softmax(const LogSoftmaxArgs& args, Stream stream) {
  if (args.n == 0) return;
  launch<log_softmax_rows>(static_cast<unsigned>(ceil_div(args.n, kThreads / kWarp)), kThreads, 0,
                           stream, args);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
