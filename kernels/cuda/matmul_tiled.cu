// Matrix product, the tiled rung: any layout, alignment and size, f32 arithmetic.
//
// A block computes a square tile of c (register_tile.h). Blocks are numbered with the tiles of one
// band of rows next to each other: those that run at the same time read the same rows of a, which
// come from device memory once and from the L2 cache after that; b, the weight, stays in L2 anyway.
// The tile is the largest of 128, 64, 32 that still gives every multiprocessor a block: a linear
// layer on one image's embedding would otherwise be the work of one or two.
#include "kernels/cuda/matmul_rungs.h"
#include "kernels/cuda/register_tile.h"

namespace diffscm::kernels::DIFFSCM_TARGET {
namespace {

// One operand as the kernel sees it: element (outer, inner), where outer is a row of c (for a) or a
// column (for b) and inner is the summed index.
template <class T>
struct Operand {
  const T* data;
  int64_t ld, outers;
  bool along_inner;  // is contiguous along inner; otherwise along outer
  bool vectored;

  __device__ Vector<float, 4> fetch(int64_t outer, int64_t inner, int64_t inners) const {
    const int64_t slow = along_inner ? outer : inner, fast = along_inner ? inner : outer;
    const bool inside = outer < outers && inner < inners;
    return load_four(data + slow * ld + fast, inside ? (along_inner ? inners : outers) - fast : 0,
                     vectored);
  }
};

template <int kTile, class T, class U>
__global__ void __launch_bounds__(kTileThreads, kTile == 128 ? 2 : 4)
    matmul_tiled_kernel(Operand<T> a, Operand<T> b, Split split, int64_t k, const float* bias,
                        const U* residual, U* c, int64_t ldc, bool vectored_c) {
  follow_previous_kernel();
  using Tile = RegisterTile<kTile>;
  auto& shared = shared_memory<typename Tile::Shared>();
  const int64_t m = a.outers, n = b.outers, tiles_n = ceil_div(n, kTile);
  const int64_t row0 = blockIdx.x / tiles_n * kTile, column0 = blockIdx.x % tiles_n * kTile;
  const int64_t begin = blockIdx.z * split.length;
  const int64_t end = begin + split.length < k ? begin + split.length : k;

  Tile tile;
  const typename Tile::Place place_a(a.along_inner), place_b(b.along_inner);
  tile.accumulate(
      shared, ceil_div(end - begin, Tile::kStep), place_a,
      [&](int64_t step) {
        return a.fetch(row0 + place_a.outer, begin + step * Tile::kStep + place_a.inner, end);
      },
      place_b,
      [&](int64_t step) {
        return b.fetch(column0 + place_b.outer, begin + step * Tile::kStep + place_b.inner, end);
      });

  tile.each_run([&](int r, int column, const auto& sums) {
    const int64_t row = row0 + r;
    if (row >= m) return;
    const int64_t at = (blockIdx.z * m + row) * ldc + column0 + column;
    write_run(sums, column0 + column, n, bias, residual ? residual + at : nullptr, c + at,
              vectored_c);
  });
}

template <int kTile, class T, class U>
void launch_tile(const BasicMatmulArgs<T, U>& args, const Split& split, Stream stream) {
  const auto vectored = [](const auto* p, int64_t ld) { return aligned16(p) && ld % 4 == 0; };
  const Operand<T> a{args.a, args.lda, args.m, !args.transpose_a, vectored(args.a, args.lda)};
  const Operand<T> b{args.b, args.ldb, args.n, args.transpose_b, vectored(args.b, args.ldb)};
  const bool vectored_c = vectored(args.c, args.ldc) && aligned16(args.residual);
  const int64_t tiles = ceil_div(args.m, kTile) * ceil_div(args.n, kTile);
  launch<matmul_tiled_kernel<kTile, T, U>>(
      dim3(static_cast<unsigned>(tiles), 1, static_cast<unsigned>(split.slices)), kTileThreads,
      sizeof(typename RegisterTile<kTile>::Shared), stream, a, b, split, args.k, args.bias,
      args.residual, args.c, args.ldc, vectored_c);
}

}  // namespace

template <class T, class U>
void matmul_tiled(const BasicMatmulArgs<T, U>& args, const Split& split, Stream stream) {
  const auto blocks = [&](int64_t tile) {
    return ceil_div(args.m, tile) * ceil_div(args.n, tile) * split.slices;
  };
  if (blocks(128) >= multiprocessors()) return launch_tile<128>(args, split, stream);
  if (blocks(64) >= multiprocessors()) return launch_tile<64>(args, split, stream);
  launch_tile<32>(args, split, stream);
}
template void matmul_tiled(const BasicMatmulArgs<float, float>&, const Split&, Stream);
template void matmul_tiled(const BasicMatmulArgs<bf16, bf16>&, const Split&, Stream);
template void matmul_tiled(const BasicMatmulArgs<bf16, float>&, const Split&, Stream);

}  // namespace diffscm::kernels::DIFFSCM_TARGET
