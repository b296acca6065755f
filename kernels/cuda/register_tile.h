// The inner part of the f32 rungs of matrix product and weight gradient: a block's square tile of
//   c[row, column] = sum_i a[i, row] * b[i, column]
// summed in registers, `kStep` values of i at a time, from two tiles in shared memory.
//
// A multiplication needs two operands; from shared memory that would be twice what it delivers. So
// each of the 16 x 16 threads keeps kEach x kEach sums: per i it reads 2 kEach values and does
// kEach^2 multiplications. The tiles are stored with i as the slow index, whatever the layout in
// device memory, so that those reads are vectors. They exist twice: while one pair is multiplied,
// the next is on its way from device memory through registers to the other, and a step needs only
// one barrier.
//
// One thread sums an element over i in order, in every tile size: the choice of a tile cannot
// change a bit of the result.
#pragma once

#include "kernels/cuda/device/cuda.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

inline constexpr int kTileThreads = 256;

template <int kTile>
struct RegisterTile {
  static constexpr int kStep = 1024 / kTile;  // one vector of 4 of each operand per thread
  static constexpr int kEach = kTile / 16;
  static constexpr int kWidth = kEach < 4 ? kEach : 4;  // a thread's rows lie in runs of kWidth,
  static constexpr int kRuns = kEach / kWidth;          // kApart apart, and so do its columns
  static constexpr int kApart = kTile / kRuns;
  static constexpr int kPitch = kTile + 4;  // spreads the stores below over the banks

  struct Shared {
    float a[2][kStep][kPitch], b[2][kStep][kPitch];
  };

  // Which four elements of a tile this thread copies: from (inner, outer) on, along the index that
  // is contiguous in device memory. In a warp 16 neighbours take 16 different rows when that is the
  // inner index, so that their scattered stores meet 32 different banks.
  struct Place {
    int inner, outer;
    bool along_inner;

    __device__ explicit Place(bool along_inner) : along_inner(along_inner) {
      const int t = static_cast<int>(threadIdx.x);
      inner = along_inner ? t / 16 % (kStep / 4) * 4 : t / (kTile / 4);
      outer = along_inner ? t % 16 + t / (4 * kStep) * 16 : t % (kTile / 4) * 4;
    }
    __device__ void put(float (&tile)[kStep][kPitch], const Vector<float, 4>& x) const {
      if (along_inner) {
#pragma unroll
        for (int i = 0; i < 4; ++i) tile[inner + i][outer] = x[i];
      } else {
        store_shared(&tile[inner][outer], x);
      }
    }
  };

  static __device__ int row() {
    return static_cast<int>(threadIdx.x) / 16 * kWidth;
  }
  static __device__ int column() {
    return static_cast<int>(threadIdx.x) % 16 * kWidth;
  }

  float sum[kEach][kEach] = {};

  __device__ void multiply(const float (&a)[kStep][kPitch], const float (&b)[kStep][kPitch]) {
    const int row0 = row(), column0 = column();
#pragma unroll
    for (int i = 0; i < kStep; ++i) {
      Vector<float, kWidth> x[kRuns], y[kRuns];
#pragma unroll
      for (int run = 0; run < kRuns; ++run) {
        x[run] = load<kWidth>(&a[i][row0 + run * kApart]);
        y[run] = load<kWidth>(&b[i][column0 + run * kApart]);
      }
#pragma unroll
      for (int r = 0; r < kEach; ++r)
#pragma unroll
        for (int c = 0; c < kEach; ++c)
          sum[r][c] = fmaf(x[r / kWidth][r % kWidth], y[c / kWidth][c % kWidth], sum[r][c]);
    }
  }

  // Adds `steps` steps. fetch_a(step) and fetch_b(step) return the four elements at this thread's
  // places of that step's tiles, zeros outside.
  template <class FetchA, class FetchB>
  __device__ void accumulate(Shared& shared, int64_t steps, Place place_a, FetchA fetch_a,
                             Place place_b, FetchB fetch_b) {
    if (steps > 0) {
      place_a.put(shared.a[0], fetch_a(0));
      place_b.put(shared.b[0], fetch_b(0));
    }
    __syncthreads();
    for (int64_t step = 0; step < steps; ++step) {
      const int now = step % 2;
      const bool more = step + 1 < steps;
      Vector<float, 4> a, b;
      if (more) {
        a = fetch_a(step + 1);
        b = fetch_b(step + 1);
      }
      multiply(shared.a[now], shared.b[now]);
      if (more) {
        place_a.put(shared.a[1 - now], a);
        place_b.put(shared.b[1 - now], b);
      }
      __syncthreads();
    }
  }

  // Calls write(row, column, sums) for this thread's runs of kWidth neighbouring columns.
  template <class Write>
  __device__ void each_run(Write write) const {
#pragma unroll
    for (int r = 0; r < kEach; ++r)
#pragma unroll
      for (int run = 0; run < kRuns; ++run) {
        float x[kWidth];
#pragma unroll
        for (int i = 0; i < kWidth; ++i) x[i] = sum[r][run * kWidth + i];
        write(row() + r / kWidth * kApart + r % kWidth, column() + run * kApart, x);
      }
  }
};

// Elements p[0..3] as f32, zeros from `valid` on (which may be negative). `vectored` says that p is
// aligned to four elements.
template <class T>
__device__ inline Vector<float, 4> load_four(const T* p, int64_t valid, bool vectored) {
  Vector<float, 4> x;
  if (vectored && valid >= 4) {
    const auto v = load<4>(p);
#pragma unroll
    for (int i = 0; i < 4; ++i) x[i] = to_float(v[i]);
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) x[i] = i < valid ? to_float(p[i]) : 0.0f;
  }
  return x;
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
