// Matrix product, the tensor-core rung: bf16 operands in rows of whole 16-byte vectors, f32 sums.
//
// The products of this program are long and thin: thousands of tokens by 64 to 768 channels. At
// such an inner dimension they are bound by memory, so what matters is that a, b and c are each
// moved once, in whole vectors: cp.async reads 16 bytes at a time, results pass through shared
// memory to leave as 16 bytes (mma_tile.h), bias and residual are added on the way. Blocks are
// numbered with the tiles of one band of rows next to each other, which read the same rows of a.
// 128x128 tiles move the least data into shared memory per multiplication; where they would leave
// multiprocessors idle, 64x64 tiles give four times the blocks.
#include "kernels/cuda/matmul_rungs.h"
#include "kernels/cuda/mma_tile.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

// A matrix in device memory: rows x columns, the rows ld apart.
struct Matrix {
  const bf16* data;
  int64_t ld, rows, columns;
};

template <class Tile, class U>
__global__ void __launch_bounds__(Tile::kThreads)
    matmul_mma_kernel(Matrix a, Matrix b, int64_t m, int64_t n, int64_t k, Split split,
                      const float* bias, const U* residual, U* c, int64_t ldc, bool vectored_c) {
  follow_previous_kernel();
  auto& shared = shared_memory<typename Tile::Shared>();
  const int64_t tiles_n = ceil_div(n, Tile::kColumnsN);
  const int64_t row0 = blockIdx.x / tiles_n * Tile::kRowsM;
  const int64_t column0 = blockIdx.x % tiles_n * Tile::kColumnsN;
  const int64_t begin = blockIdx.z * split.length;
  const int64_t end = begin + split.length < k ? begin + split.length : k;

  // Slices are whole steps (but for the last), so only the matrices' own ends need zeros.
  const auto copy = [&](auto& operand, const Matrix& matrix, int64_t outer0, int64_t inner0) {
    const bool along_inner = operand.kAlongInner;
    operand.template each_chunk<Tile::kThreads>([&](bf16* to, int row, int column) {
      const int64_t r = (along_inner ? outer0 : inner0) + row;
      const int64_t col = (along_inner ? inner0 : outer0) + column;
      const bool inside = r < matrix.rows && col < matrix.columns;
      async_copy_16(to, inside ? matrix.data + r * matrix.ld + col : matrix.data, inside);
    });
  };
  Tile tile;
  tile.accumulate(shared, ceil_div(end - begin, Tile::kStep), [&](auto& stage, int64_t step) {
    const int64_t inner = begin + step * Tile::kStep;
    copy(stage.a, a, row0, inner);
    copy(stage.b, b, column0, inner);
  });

  tile.template each_run<kVector<U>>(shared, [&](int r, int column, const auto& sums) {
    const int64_t row = row0 + r;
    if (row >= m || column0 + column >= n) return;
    const int64_t at = (blockIdx.z * m + row) * ldc + column0 + column;
    write_run(sums, column0 + column, n, bias, residual ? residual + at : nullptr, c + at,
              vectored_c);
  });
}

template <class Tile, class U>
void launch_tile(const BasicMatmulArgs<bf16, U>& args, const Split& split, Stream stream) {
  const int64_t m = args.m, n = args.n, k = args.k;
  const Matrix a{args.a, args.lda, args.transpose_a ? k : m, args.transpose_a ? m : k};
  const Matrix b{args.b, args.ldb, args.transpose_b ? n : k, args.transpose_b ? k : n};
  const bool vectored_c =
      aligned16(args.c) && aligned16(args.residual) && args.ldc % kVector<U> == 0;
  const int64_t tiles = ceil_div(m, Tile::kRowsM) * ceil_div(n, Tile::kColumnsN);
  launch<matmul_mma_kernel<Tile, U>>(
      dim3(static_cast<unsigned>(tiles), 1, static_cast<unsigned>(split.slices)), Tile::kThreads,
      sizeof(typename Tile::Shared), stream, a, b, m, n, k, split, args.bias, args.residual, args.c,
      args.ldc, vectored_c);
}

template <bool a_along_inner, bool b_along_inner, class U>
void launch_layout(const BasicMatmulArgs<bf16, U>& args, const Split& split, Stream stream) {
  const int64_t large = ceil_div(args.m, 128) * ceil_div(args.n, 128) * split.slices;
  if (large >= multiprocessors() && args.n > 64)
    launch_tile<MmaTile<128, 128, 64, 32, a_along_inner, b_along_inner>>(args, split, stream);
  else
    launch_tile<MmaTile<64, 64, 32, 32, a_along_inner, b_along_inner>>(args, split, stream);
}

}  // namespace

template <class U>
void matmul_mma(const BasicMatmulArgs<bf16, U>& args, const Split& split, Stream stream) {
  if (args.transpose_a)
    args.transpose_b ? launch_layout<false, true>(args, split, stream)
                     : launch_layout<false, false>(args, split, stream);
  else
    args.transpose_b ? launch_layout<true, true>(args, split, stream)
                     : launch_layout<true, false>(args, split, stream);
}
template void matmul_mma(const BasicMatmulArgs<bf16, bf16>&, const Split&, Stream);
template void matmul_mma(const BasicMatmulArgs<bf16, float>&, const Split&, Stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
