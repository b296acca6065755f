// Several linear layers of one input: one product after the other, each on all threads.
#include "kernels/linear_group.h"

#include <algorithm>
#include <span>

#include "kernels/cpu/table.h"

namespace diffscm::kernels::cpu {

void linear_group(const LinearGroupArgs& args, Stream stream) {
  for (const auto& layer : std::span(args.layers, static_cast<size_t>(args.count)))
    matmul({args.m, layer.out, args.k, args.x, args.k, false, layer.weight, args.k, true,
            layer.bias, nullptr, layer.y, layer.ldy},
           stream);
}

void linear_group_backward(const LinearGroupBackwardArgs& args, Stream stream) {
  if (args.dx) std::fill_n(args.dx, args.m * args.k, 0.0f);
  for (const auto& layer : std::span(args.layers, static_cast<size_t>(args.count))) {
    if (args.dx)
      matmul({args.m, args.k, layer.out, layer.dy, layer.out, false, layer.weight, args.k, false,
              nullptr, args.dx, args.dx, args.k},
             stream);
    if (layer.dweight)
      matmul({layer.out, args.k, args.m, layer.dy, layer.out, true, args.x, args.k, false, nullptr,
              nullptr, layer.dweight, args.k},
             stream);
    if (layer.dbias) column_sum({args.m, layer.out, layer.dy, layer.dbias}, stream);
  }
}

}  // namespace diffscm::kernels::cpu
