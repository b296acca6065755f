#include "models/finite.h"

#include <algorithm>
#include <cmath>

#include "engine/io/file.h"
#include "engine/parallel.h"
#include "kernels/error.h"

namespace diffscm {

void require_finite(const std::string& file, const std::string& name, const Tensor& tensor) {
  constexpr int64_t kPart = 1 << 18;
  const float* p = tensor.data();
  in_parallel((tensor.numel() + kPart - 1) / kPart, [&](int64_t part) {
    const int64_t end = std::min(tensor.numel(), (part + 1) * kPart);
    for (int64_t i = part * kPart; i < end; ++i)
      require(std::isfinite(p[i]), "{}: tensor {} holds {} at element {}: the file is damaged",
              file, io::show(name), p[i], i);
  });
}

}  // namespace diffscm
