// The variational bound's term: a chunk of a sample per block (sample_mean.h), the value and its
// gradient in one pass. Reads 16 bytes and writes 4 per number of the image, once per step: what
// the arithmetic in double takes is nothing beside a network's layer.
#include "kernels/bound_term.h"
#include "kernels/cuda/sample_mean.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

__global__ void __launch_bounds__(kMeanThreads)
    bound_terms(VariationalBoundArgs args, SampleMean mean, double scale) {
  follow_previous_kernel();
  const MeanChunk chunk = chunk_of(mean, blockIdx.x);
  const BoundStep step = bound_step(args.step, chunk.sample);
  double nats = 0;
  for (int64_t e = chunk.begin + threadIdx.x; e < chunk.end; e += kMeanThreads) {
    const BoundTerm term = bound_term(step, args.v[e], args.eps[e], args.noise[e], args.x_t[e]);
    nats += term.value;
    if (args.gradient != nullptr) args.gradient[e] = static_cast<float>(scale * term.slope);
  }
  finish_chunk(mean, chunk, nats);
}

}  // namespace

void variational_bound(const VariationalBoundArgs& args, Stream stream) {
  if (args.n == 0) return;
  const double nats_per_bit = std::numbers::ln2 * static_cast<double>(args.elements);
  launch_mean<bound_terms>("variational_bound", args, nats_per_bit, stream,
                           args.weight / nats_per_bit);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
