// What kernels have in common whose elements are all on their own: such a kernel is as fast as
// memory is, so what counts is 16 bytes per access and enough accesses under way.
#pragma once

#include <algorithm>
#include <type_traits>

#include "kernels/cuda/device/cuda.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

inline constexpr int kElementThreads = 256;

// `width` numbers in registers, in f32 whatever they are stored as.
template <int width>
struct Numbers {
  float v[width] = {};
  __device__ float& operator[](int i) { return v[i]; }
  __device__ const float& operator[](int i) const { return v[i]; }
  __device__ void operator+=(const Numbers& x) {
#pragma unroll
    for (int i = 0; i < width; ++i) v[i] += x[i];
  }
};

template <class T, int width>
__device__ inline Numbers<width> numbers_of(const Vector<T, width>& x) {
  Numbers<width> numbers;
  to_floats(x, numbers.v);
  return numbers;
}

template <int width, class T>
__device__ inline Numbers<width> load_numbers(const T* p) {
  constexpr int kPiece = width < kVector<T> ? width : kVector<T>;
  Numbers<width> numbers;
#pragma unroll
  for (int at = 0; at < width; at += kPiece) {
    const auto piece = numbers_of(load<kPiece>(p + at));
#pragma unroll
    for (int i = 0; i < kPiece; ++i) numbers[at + i] = piece[i];
  }
  return numbers;
}

template <int width, class T>
__device__ inline void store_numbers(T* p, const Numbers<width>& numbers) {
  constexpr int kPiece = width < kVector<T> ? width : kVector<T>;
#pragma unroll
  for (int at = 0; at < width; at += kPiece) {
    float piece[kPiece];
#pragma unroll
    for (int i = 0; i < kPiece; ++i) piece[i] = numbers[at + i];
    store(p + at, from_floats<T>(piece));
  }
}

// Covers elements [0, n) by vectors of `width`, dealt to all threads of the grid in turn, and the
// n % width last elements one by one:
//   read(w, i) loads what elements i .. i + w - 1 need and returns it;
//   write(w, i, read) computes and stores them. (w is an integral constant.)
// A thread reads `flight` vectors before it writes any: memory's latency is then paid once for
// them. The compiler could not reorder so by itself, since an output may be an input.
template <int width, int flight = 1, class Read, class Write>
__device__ inline void for_each_vector(int64_t n, const Read& read, const Write& write) {
  constexpr std::integral_constant<int, width> whole;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  const int64_t vectors = n / width;
  int64_t vector = first;
  if constexpr (flight > 1) {
    for (; vector + (flight - 1) * step < vectors; vector += flight * step) {
      decltype(read(whole, vector)) values[flight];
#pragma unroll
      for (int i = 0; i < flight; ++i) values[i] = read(whole, (vector + i * step) * width);
#pragma unroll
      for (int i = 0; i < flight; ++i) write(whole, (vector + i * step) * width, values[i]);
    }
  }
  for (; vector < vectors; vector += step)
    write(whole, vector * width, read(whole, vector * width));
  if constexpr (width > 1) {
    constexpr std::integral_constant<int, 1> one;
    const int64_t last = vectors * width + first;
    if (last < n) write(one, last, read(one, last));
  }
}

// The grid for n elements in vectors of `width`: a thread for each vector as long as that gives
// every multiprocessor four times the eight blocks that it can hold, so that a slow one may take
// fewer. Beyond that threads take several vectors.
inline dim3 element_grid(int64_t n, int width) {
  const int64_t blocks = ceil_div(ceil_div(n, width), kElementThreads);
  return dim3(static_cast<unsigned>(std::min<int64_t>(blocks, 32 * multiprocessors())));
}

// Launches `vectors` (for vectors of `width`) where every array allows it, else `single` (for
// single elements), on n elements.
template <auto vectors, auto single, class Args>
void launch_elements(int64_t n, int width, bool aligned, Stream stream, const Args& args,
                     size_t shared_bytes = 0) {
  const dim3 threads(kElementThreads);
  if (aligned)
    launch<vectors>(element_grid(n, width), threads, shared_bytes, stream, args);
  else
    launch<single>(element_grid(n, 1), threads, shared_bytes, stream, args);
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
