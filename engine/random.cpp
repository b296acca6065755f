#include "engine/random.h"

#include <numeric>

namespace diffscm {

Tensor standard_normal(const Shape& shape, const kernels::RandomKey& key,
                       std::span<const int64_t> index, Target target) {
  require(!shape.empty(), "noise needs a shape [N, ...]");
  const int64_t n = shape.front();
  std::vector<int64_t> streams(index.begin(), index.end());
  if (streams.empty()) {
    streams.resize(static_cast<size_t>(n));
    std::iota(streams.begin(), streams.end(), int64_t{0});
  }
  require(static_cast<int64_t>(streams.size()) == n, "{} sample indices for {} images",
          streams.size(), n);
  Tensor z(shape, target);
  const Tensor device = Tensor::from(streams, {n}, target);
  operators(target).normal({.key = key,
                            .n = n,
                            .elements = n == 0 ? 0 : z.numel() / n,
                            .index = device.data_i64(),
                            .y = z.mutable_data()});
  return z;
}

}  // namespace diffscm
