// The inner part of the tensor-core rungs of matrix product and weight gradient: a block's tile of
//   c[row, column] = sum_i a[row, i] * b[i, column]
// with bf16 operands and f32 sums, kStep values of i at a time.
//
// Data flows through three stations. cp.async brings the operands' tiles from device memory into a
// ring of kStages stages of shared memory, two steps ahead of their use, without passing through
// registers. ldmatrix distributes 8x8 matrices over a warp's lanes as mma wants them. mma.sync
// multiplies 16x8x16 per warp. A tile stays in shared memory as it lies in device memory: with rows
// along i ("along_inner") or along the outer index (rows of c for a, columns for b); in the latter
// case ldmatrix transposes on the way. Rows are padded by 16 bytes, an odd number of 16-byte
// chunks in all, so that the eight rows of a matrix meet different banks.
//
// An element is summed in the same order of i in every tile size.
#pragma once

#include "kernels/cuda/device/async_copy.h"
#include "kernels/cuda/device/mma.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

// One operand's part of one step: kOuter rows (or columns) of c by kStep.
template <int kOuter, int kStep, bool along_inner>
struct MmaOperand {
  static constexpr bool kAlongInner = along_inner;
  static constexpr int kRows = along_inner ? kOuter : kStep;
  static constexpr int kColumns = along_inner ? kStep : kOuter;
  static constexpr int kChunks = kColumns / 8;  // of 16 bytes per row

  alignas(16) bf16 at[kRows][kColumns + 8];

  // Calls copy(destination, row, column) for each 16-byte chunk that is this thread's to copy. The
  // column is the same for all of them.
  template <int threads, class Copy>
  __device__ void each_chunk(Copy copy) {
    static_assert(threads % kChunks == 0);
    constexpr int kRowsAtOnce = threads / kChunks;
    const int t = static_cast<int>(threadIdx.x);
    const int column = t % kChunks * 8;
#pragma unroll
    for (int row0 = 0; row0 < kRows; row0 += kRowsAtOnce) {
      const int row = row0 + t / kChunks;
      if (kRows % kRowsAtOnce == 0 || row < kRows) copy(&at[row][column], row, column);
    }
  }
};

template <int kM, int kN, int kWarpM, int kWarpN, bool a_along_inner, bool b_along_inner>
struct MmaTile {
  static constexpr int kStep = 32, kStages = 3;
  static constexpr int kWarpsN = kN / kWarpN, kWarps = kM / kWarpM * kWarpsN;
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kTilesM = kWarpM / 16, kTilesN = kWarpN / 8;  // of mma, per warp
  static constexpr int kRowsM = kM, kColumnsN = kN;

  using A = MmaOperand<kM, kStep, a_along_inner>;
  using B = MmaOperand<kN, kStep, b_along_inner>;
  struct Stage {
    A a;
    B b;
  };
  struct alignas(16) Rows {  // results on their way out, sixteen rows of each warp's
    float of_warp[kWarps][16][kWarpN + 8];
  };
  union Shared {
    Stage stage[kStages];
    Rows rows;
  };

  float sum[kTilesM][kTilesN][4] = {};

  static __device__ int lane() { return static_cast<int>(threadIdx.x) % 32; }
  static __device__ int warp() { return static_cast<int>(threadIdx.x) / 32; }
  static __device__ int row() { return warp() / kWarpsN * kWarpM; }
  static __device__ int column() { return warp() % kWarpsN * kWarpN; }

  // The A fragment of rows [outer, outer + 16) and inner indices [inner, inner + 16).
  static __device__ void load_a(uint32_t (&r)[4], const A& a, int outer, int inner) {
    const int l = lane();
    if constexpr (a_along_inner)
      ldmatrix_x4(r, &a.at[outer + l % 16][inner + l / 16 * 8]);
    else
      ldmatrix_x4_transposed(r, &a.at[inner + l % 8 + l / 16 * 8][outer + l / 8 % 2 * 8]);
  }
  // The B fragments of columns [outer, outer + 8) in r[0], r[1] and of the next eight in r[2],
  // r[3].
  static __device__ void load_b(uint32_t (&r)[4], const B& b, int outer, int inner) {
    const int l = lane();
    if constexpr (b_along_inner)
      ldmatrix_x4(r, &b.at[outer + l % 8 + l / 16 * 8][inner + l / 8 % 2 * 8]);
    else
      ldmatrix_x4_transposed(r, &b.at[inner + l % 16][outer + l / 16 * 8]);
  }

  // What may be done besides with an A fragment, of the warp's i-th sixteen rows: nothing.
  struct Nothing {
    __device__ void operator()(int, const uint32_t (&)[4]) const {}
  };

  template <class Besides>
  __device__ void multiply(const Stage& stage, Besides besides) {
#pragma unroll
    for (int inner = 0; inner < kStep; inner += 16) {
      uint32_t a[kTilesM][4];
#pragma unroll
      for (int i = 0; i < kTilesM; ++i) {
        load_a(a[i], stage.a, row() + 16 * i, inner);
        besides(i, a[i]);
      }
#pragma unroll
      for (int j = 0; j < kTilesN; j += 2) {
        uint32_t b[4];
        load_b(b, stage.b, column() + 8 * j, inner);
#pragma unroll
        for (int i = 0; i < kTilesM; ++i) {
          mma_m16n8k16(sum[i][j], a[i], {b[0], b[1]});
          mma_m16n8k16(sum[i][j + 1], a[i], {b[2], b[3]});
        }
      }
    }
  }

  // Adds `steps` steps. copy(stage, step) starts this thread's asynchronous copies of one step.
  // Afterwards shared memory is free for other use.
  template <class Step, class Copy, class Besides = Nothing>
  __device__ void accumulate(Shared& shared, Step steps, Copy copy, Besides besides = {}) {
#pragma unroll
    for (int step = 0; step < kStages - 1; ++step) {
      if (step < steps) copy(shared.stage[step], step);
      async_copy_commit();
    }
    int now = 0;
    for (Step step = 0; step < steps; ++step) {
      // The copies of this step have arrived, everyone's after the barrier; and everyone is done
      // with the stage of the step before, which is the one filled next.
      async_copy_wait<kStages - 2>();
      __syncthreads();
      if (step + kStages - 1 < steps)
        copy(shared.stage[now == 0 ? kStages - 1 : now - 1], step + kStages - 1);
      async_copy_commit();
      multiply(shared.stage[now], besides);
      now = now + 1 == kStages ? 0 : now + 1;
    }
    async_copy_wait<0>();
    __syncthreads();
  }

  // Calls write(row, column, sums) for runs of kWidth neighbouring columns. A fragment holds only
  // two neighbours; each warp passes its sums through shared memory, sixteen rows at a time, so
  // that device memory sees vectors of 16 bytes in whole sectors. Every other row has the fours of
  // each eight columns swapped: eights are then read without conflicts of banks.
  template <int kWidth, class AnyShared, class Write>
  __device__ void each_run(AnyShared& shared, Write write, int l = lane()) const {
    auto& rows = shared.rows.of_warp[warp()];
    const int group = l / 4, pair = (l % 4 * 2) ^ (group % 2 * 4);
#pragma unroll
    for (int i = 0; i < kTilesM; ++i) {
#pragma unroll
      for (int j = 0; j < kTilesN; ++j) {
        const float(&d)[4] = sum[i][j];
        store_shared(&rows[group][8 * j + pair], Vector<float, 2>{d[0], d[1]});
        store_shared(&rows[group + 8][8 * j + pair], Vector<float, 2>{d[2], d[3]});
      }
      __syncwarp();
      constexpr int kRuns = kWarpN / kWidth;
#pragma unroll
      for (int run = l; run < 16 * kRuns; run += 32) {
        float x[kWidth];
#pragma unroll
        for (int part = 0; part < kWidth; part += 4) {
          const int r = run / kRuns, at = (run % kRuns * kWidth + part) ^ (r % 2 * 4);
          const auto four = load<4>(&rows[r][at]);
#pragma unroll
          for (int k = 0; k < 4; ++k) x[part + k] = four[k];
        }
        write(row() + 16 * i + run / kRuns, column() + run % kRuns * kWidth, x);
      }
      __syncwarp();
    }
  }
};

}  // namespace diffscm::kernels::DIFFSCM_TARGET
