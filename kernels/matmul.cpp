#include "kernels/matmul.h"

#include "kernels/error.h"

namespace diffscm::kernels {
namespace {

void check_matrix(const char* name, int64_t columns, int64_t ld) {
  require(ld >= columns, "matmul: the leading dimension of {} is {}, less than its {} columns",
          name, ld, columns);
}

}  // namespace

template <class T, class U>
void check(const BasicMatmulArgs<T, U>& args) {
  const int64_t m = args.m, n = args.n, k = args.k;
  require(m >= 0 && n >= 0 && k >= 0, "matmul: m, n, k are {}, {}, {}, expected >= 0", m, n, k);
  check_matrix("a", args.transpose_a ? m : k, args.lda);
  check_matrix("b", args.transpose_b ? k : n, args.ldb);
  check_matrix("c", n, args.ldc);
  require(m * n == 0 || (args.c && (k == 0 || (args.a && args.b))), "matmul: a, b or c is null");
}
template void check(const BasicMatmulArgs<float>&);
template void check(const BasicMatmulArgs<bf16>&);
template void check(const BasicMatmulArgs<bf16, float>&);

template <class T>
void check(const BasicColumnSumArgs<T>& args) {
  require(args.rows >= 0 && args.columns >= 0, "column_sum: shape [{}, {}], expected >= 0",
          args.rows, args.columns);
  require(args.columns == 0 || (args.y && (args.x || args.rows == 0)),
          "column_sum: x or y is null");
}
template void check(const BasicColumnSumArgs<float>&);
template void check(const BasicColumnSumArgs<bf16>&);

}  // namespace diffscm::kernels
