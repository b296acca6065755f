// Losses: the value and its gradient in one pass.
//
// Mean squared error. A chunk of a sample per block (sample_mean.h), which adds up its squares in
// double (contract) and writes the gradient on the way: prediction and target are read once.
//
// Log-softmax. A handful of classes per sample: a warp per sample, lanes over classes, in double.
// Time is nothing here, so the arithmetic is that of the cpu target.
#include "kernels/cuda/sample_mean.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int kThreads = 256;

template <int V>
__global__ void __launch_bounds__(kMeanThreads)
    squared_error(MseArgs args, SampleMean mean, float scale) {
  follow_previous_kernel();
  const MeanChunk chunk = chunk_of(mean, blockIdx.x);
  double sum = 0;
#pragma unroll 4
  for (int64_t e = chunk.begin + threadIdx.x * V; e < chunk.end; e += kMeanThreads * V) {
    const auto p = load<V>(args.prediction + e), t = load<V>(args.target + e);
    Vector<float, V> gradient;
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const double d = static_cast<double>(p[j]) - static_cast<double>(t[j]);
      sum += d * d;
      gradient[j] = scale * (p[j] - t[j]);
    }
    if (args.gradient != nullptr) store<V>(args.gradient + e, gradient);
  }
  finish_chunk(mean, chunk, sum);
}

template <int V>
void run_mse(const MseArgs& args, Stream stream) {
  const float scale = static_cast<float>(2.0 * args.weight / static_cast<double>(args.elements));
  launch_mean<squared_error<V>>("mse", args, static_cast<double>(args.elements), stream, scale);
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
