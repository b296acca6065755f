// Matrix products through OpenBLAS, and the column sum of a bias gradient.
//
// The epilogue (bias, residual) becomes the initial value of c, to which BLAS then adds: it costs
// one pass over c before the product instead of one after it, and lets residual be c itself.
// OpenBLAS chooses its own blocking by shape and thread count: the product alone, of all operators
// of this target, is not promised to be bit-identical across thread counts or batch sizes.
#include <cblas.h>

#include <cstring>
#include <limits>
#include <tuple>

#include "kernels/cpu/clones.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/table.h"

namespace diffscm::kernels::cpu {
namespace {

constexpr int64_t kChunkRows = 64;

// c[i] = bias[i] + residual[i]; a null pointer counts as zeros, residual may be c.
DIFFSCM_CLONES void start_row(int64_t n, const float* bias, const float* residual, float* c) {
  if (bias && residual) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) c[i] = residual[i] + bias[i];
  } else if (bias) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) c[i] = bias[i];
  } else if (residual) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) c[i] = residual[i];
  } else {
    for (int64_t i = 0; i < n; ++i) c[i] = 0.0f;
  }
}

DIFFSCM_CLONES void sum_rows(int64_t rows, int64_t columns, const float* x, float* y) {
  for (int64_t i = 0; i < columns; ++i) y[i] = 0.0f;
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = x + r * columns;
#pragma GCC ivdep
    for (int64_t i = 0; i < columns; ++i) y[i] += row[i];
  }
}

void require_matrix(const char* name, int64_t rows, int64_t columns, int64_t ld) {
  require(ld >= columns, "matmul: the leading dimension of {} is {}, less than its {} columns",
          name, ld, columns);
  require(ld <= std::numeric_limits<blasint>::max() && rows <= std::numeric_limits<blasint>::max(),
          "matmul: {} of {} rows and leading dimension {} is too large for BLAS", name, rows, ld);
}

}  // namespace

void matmul(const MatmulArgs& args, Stream) {
  const auto [m, n, k] = std::tuple(args.m, args.n, args.k);
  require(m >= 0 && n >= 0 && k >= 0, "matmul: m, n, k are {}, {}, {}, expected >= 0", m, n, k);
  require_matrix("a", args.transpose_a ? k : m, args.transpose_a ? m : k, args.lda);
  require_matrix("b", args.transpose_b ? n : k, args.transpose_b ? k : n, args.ldb);
  require_matrix("c", m, n, args.ldc);
  if (m * n == 0) return;
  require(args.c && (k == 0 || (args.a && args.b)), "matmul: a, b or c is null");

  const bool accumulates = args.residual == args.c && !args.bias;
  const bool starts_at_zero = !args.residual && !args.bias && k > 0;
  if (!accumulates && !starts_at_zero) {
    for (int64_t row = 0; row < m; ++row) {
      const int64_t at = row * args.ldc;
      start_row(n, args.bias, args.residual ? args.residual + at : nullptr, args.c + at);
    }
  }
  if (k == 0) return;
  cblas_sgemm(CblasRowMajor, args.transpose_a ? CblasTrans : CblasNoTrans,
              args.transpose_b ? CblasTrans : CblasNoTrans, static_cast<blasint>(m),
              static_cast<blasint>(n), static_cast<blasint>(k), 1.0f, args.a,
              static_cast<blasint>(args.lda), args.b, static_cast<blasint>(args.ldb),
              starts_at_zero ? 0.0f : 1.0f, args.c, static_cast<blasint>(args.ldc));
}

// Chunks of rows are summed on their own and the chunks then in order, so that many rows lose less
// to rounding than in one long sum and threads can share them without changing the result.
void column_sum(const ColumnSumArgs& args, Stream) {
  require(args.rows >= 0 && args.columns >= 0, "column_sum: shape [{}, {}], expected >= 0",
          args.rows, args.columns);
  if (args.columns == 0) return;
  require(args.y && (args.x || args.rows == 0), "column_sum: x or y is null");
  const int64_t chunks = (args.rows + kChunkRows - 1) / kChunkRows;
  if (chunks <= 1) return sum_rows(args.rows, args.columns, args.x, args.y);
  thread_local Scratch<float> scratch;
  float* partial = scratch.get(chunks * args.columns);
  parallel_tasks(chunks, args.rows * args.columns, [&](int64_t chunk) {
    const int64_t row = chunk * kChunkRows;
    sum_rows(std::min(kChunkRows, args.rows - row), args.columns, args.x + row * args.columns,
             partial + chunk * args.columns);
  });
  sum_rows(chunks, args.columns, partial, args.y);
}

}  // namespace diffscm::kernels::cpu
