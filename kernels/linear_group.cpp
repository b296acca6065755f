#include "kernels/linear_group.h"

#include "kernels/error.h"

namespace diffscm::kernels {
namespace {

template <class Args>
void check_sizes(const char* name, const Args& args) {
  require(args.m >= 0 && args.k >= 0 && args.count >= 0,
          "{}: m, k, count are {}, {}, {}, expected >= 0", name, args.m, args.k, args.count);
  require(args.count == 0 || args.layers, "{}: layers is null", name);
  for (int64_t l = 0; l < args.count; ++l)
    require(args.layers[l].out >= 0, "{}: layer {} has {} outputs, expected >= 0", name, l,
            args.layers[l].out);
}

}  // namespace

void check(const LinearGroupArgs& args) {
  check_sizes("linear_group", args);
  for (int64_t l = 0; l < args.count; ++l) {
    const auto& layer = args.layers[l];
    require(args.m * layer.out == 0 || (layer.y && (args.k == 0 || (args.x && layer.weight))),
            "linear_group: x is null, or the weight or y of layer {}", l);
    require(layer.ldy >= layer.out,
            "linear_group: rows of layer {} are {} apart, less than {} long", l, layer.ldy,
            layer.out);
  }
}

void check(const LinearGroupBackwardArgs& args) {
  check_sizes("linear_group_backward", args);
  for (int64_t l = 0; l < args.count; ++l) {
    const auto& layer = args.layers[l];
    if (args.m * layer.out == 0) continue;
    require(layer.dy, "linear_group_backward: dy of layer {} is null", l);
    require(!args.dx || args.k == 0 || layer.weight,
            "linear_group_backward: the weight of layer {} is null", l);
    require(!layer.dweight || args.k == 0 || args.x, "linear_group_backward: x is null");
  }
}

}  // namespace diffscm::kernels
