#include "kernels/elementwise.h"

#include "kernels/error.h"

namespace diffscm::kernels {

template <class T>
void check(const BasicLinearCombinationArgs<T>& args) {
  require(args.n >= 0, "linear_combination: n is {}, expected >= 0", args.n);
  require(args.n == 0 || (args.x && args.y), "linear_combination: x or y is null");
}
template void check(const BasicLinearCombinationArgs<float>&);
template void check(const BasicLinearCombinationArgs<bf16>&);

template <class From, class To>
void check(const CastArgs<From, To>& args) {
  require(args.n >= 0, "cast: n is {}, expected >= 0", args.n);
  require(args.n == 0 || (args.x && args.y), "cast: x or y is null");
}
template void check(const CastArgs<float, bf16>&);
template void check(const CastArgs<bf16, float>&);

template <class T>
void check(const BasicSiluArgs<T>& args) {
  require(args.n >= 0, "silu: n is {}, expected >= 0", args.n);
  require(args.n == 0 || (args.x && args.y), "silu: x or y is null");
}
template void check(const BasicSiluArgs<float>&);
template void check(const BasicSiluArgs<bf16>&);

template <class T>
void check(const BasicSiluBackwardArgs<T>& args) {
  require(args.n >= 0, "silu_backward: n is {}, expected >= 0", args.n);
  require(args.n == 0 || (args.x && args.dy && args.dx), "silu_backward: x, dy or dx is null");
}
template void check(const BasicSiluBackwardArgs<float>&);
template void check(const BasicSiluBackwardArgs<bf16>&);

void check(const ReluArgs& args) {
  require(args.n >= 0, "relu: n is {}, expected >= 0", args.n);
  require(args.n == 0 || (args.x && args.y), "relu: x or y is null");
}

void check(const ReluBackwardArgs& args) {
  require(args.n >= 0, "relu_backward: n is {}, expected >= 0", args.n);
  require(args.n == 0 || (args.y && args.dy && args.dx), "relu_backward: y, dy or dx is null");
}

void check(const TimestepEmbeddingArgs& args) {
  require(args.n >= 0, "timestep_embedding: n is {}, expected >= 0", args.n);
  require(args.channels >= 2 && args.channels % 2 == 0,
          "timestep_embedding: channels is {}, expected an even number >= 2", args.channels);
  require(args.channels > 2 || !args.last_frequency,
          "timestep_embedding: last_frequency needs more than 2 channels");
  require(args.n == 0 || (args.t && args.emb), "timestep_embedding: t or emb is null");
}

void check(const CombineSamplesArgs& args) {
  require(args.n >= 0 && args.elements >= 0,
          "combine_samples: n is {} and elements {}, expected >= 0", args.n, args.elements);
  if (args.n * args.elements == 0) return;
  require(args.a && args.x && args.y, "combine_samples: a, x or y is null");
  require(args.b || !args.z, "combine_samples: z is given but b is null");
}

void check(const GatherRowsArgs& args) {
  require(args.n >= 0 && args.elements >= 0 && args.rows_of_x >= 0,
          "gather_rows: n is {}, elements {} and rows_of_x {}, expected >= 0", args.n,
          args.elements, args.rows_of_x);
  require(args.n * args.elements == 0 || (args.x && args.rows && args.y),
          "gather_rows: x, rows or y is null");
}

void check(const SampleDotArgs& args) {
  require(args.n >= 0 && args.elements >= 0, "sample_dot: n is {} and elements {}, expected >= 0",
          args.n, args.elements);
  require(args.n == 0 || args.y, "sample_dot: y is null");
  require(args.n * args.elements == 0 || (args.x && args.z), "sample_dot: x or z is null");
}

}  // namespace diffscm::kernels
