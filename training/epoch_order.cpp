#include "training/epoch_order.h"

#include <algorithm>
#include <numeric>

namespace diffscm {

std::vector<int64_t> permutation(int64_t n, const kernels::RandomKey& key, uint64_t stream) {
  std::vector<uint32_t> rank(n);
  for (int64_t i = 0; i < n; ++i)
    rank[i] = kernels::philox(key, stream, static_cast<uint32_t>(i / 4)).word[i % 4];
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](int64_t a, int64_t b) { return rank[a] != rank[b] ? rank[a] < rank[b] : a < b; });
  return order;
}

int64_t EpochOrder::at(int64_t position) const {
  const int64_t number = position / size_;
  Epoch& epoch = epochs_[static_cast<size_t>(number % 2)];
  if (epoch.number != number)
    epoch = {number, permutation(size_, {seed_, kernels::Purpose::order, 0},
                                 static_cast<uint64_t>(number))};
  return epoch.order[static_cast<size_t>(position % size_)];
}

}  // namespace diffscm
