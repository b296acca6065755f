// A mean over each sample's elements, in double. A sample is cut into chunks, one block each, by
// its size alone. With one chunk the block has the mean; with more, a second kernel adds the chunks
// up in order.
#pragma once

#include "kernels/cuda/table.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

constexpr int kMeanThreads = 256;
constexpr int64_t kMeanChunk = 32 * kMeanThreads;  // elements

struct MeanShared {
  double scratch[kMeanThreads / kWarp];
};

struct SampleMean {
  int64_t n, elements, chunks;
  double divisor;    // elements, in the unit of the mean
  float* mean;       // [N]
  double* partials;  // [N, chunks]; null if there is one
};

// The elements of block `block`, of all samples behind each other.
struct MeanChunk {
  int64_t sample, begin, end;
};
__device__ inline MeanChunk chunk_of(const SampleMean& m, int64_t block) {
  const int64_t n = block / m.chunks, begin = block % m.chunks * kMeanChunk;
  const int64_t end = begin + kMeanChunk < m.elements ? begin + kMeanChunk : m.elements;
  return {n, n * m.elements + begin, n * m.elements + end};
}

// Takes the sum that each thread of the chunk's block has.
__device__ inline void finish_chunk(const SampleMean& m, const MeanChunk& chunk, double sum) {
  sum = block_sum<kMeanThreads>(sum, shared_memory<MeanShared>().scratch);
  if (threadIdx.x != 0) return;
  if (m.chunks == 1) {
    m.mean[chunk.sample] = static_cast<float>(sum / m.divisor);
  } else {
    m.partials[blockIdx.x] = sum;
  }
}

__global__ void __launch_bounds__(kMeanThreads) sum_chunks(SampleMean m) {
  follow_previous_kernel();
  const int64_t n = static_cast<int64_t>(blockIdx.x) * kMeanThreads + threadIdx.x;
  if (n >= m.n) return;
  double sum = 0;
  for (int64_t chunk = 0; chunk < m.chunks; ++chunk) sum += m.partials[n * m.chunks + chunk];
  m.mean[n] = static_cast<float>(sum / m.divisor);
}

// kernel(args, SampleMean, more...) for every chunk, then their sums. `what` is the operator.
template <auto kernel, class Args, class... More>
void launch_mean(const char* what, const Args& args, double divisor, Stream stream, More... more) {
  SampleMean m{args.n,  args.elements, ceil_div(args.elements, kMeanChunk),
               divisor, args.loss,     nullptr};
  require(m.n * m.chunks < int64_t{1} << 31,
          "{}: {} samples of {} elements are more than a launch can have", what, m.n, m.elements);
  if (m.chunks > 1) {
    m.partials = static_cast<double*>(
        workspace(static_cast<size_t>(m.n * m.chunks) * sizeof(double), stream));
  }
  launch<kernel>(static_cast<unsigned>(m.n * m.chunks), kMeanThreads, sizeof(MeanShared), stream,
                 args, m, more...);
  if (m.chunks > 1) {
    launch<sum_chunks>(static_cast<unsigned>(ceil_div(m.n, kMeanThreads)), kMeanThreads, 0, stream,
                       m);
  }
}

}  // namespace
}  // namespace diffscm::kernels::DIFFSCM_TARGET
