#include "kernels/random.h"

#include "kernels/error.h"

namespace diffscm::kernels {

void check(const NormalArgs& args) {
  require(args.n >= 0 && args.elements >= 0, "normal: n is {} and elements {}, expected >= 0",
          args.n, args.elements);
  require(args.n * args.elements == 0 || (args.index && args.y), "normal: index or y is null");
  require(args.elements <= int64_t{4} << 32,
          "normal: {} elements per sample, but a counter has room for {}", args.elements,
          int64_t{4} << 32);
}

}  // namespace diffscm::kernels
