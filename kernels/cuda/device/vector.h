// Vectors of up to 16 bytes, moved by one memory instruction.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

namespace diffscm::kernels::DIFFSCM_TARGET {

template <class T, int N>
struct alignas(sizeof(T) * N) Vector {
  static_assert(sizeof(T) * N <= 16, "no memory instruction moves more than 16 bytes");
  T v[N];
  __device__ T& operator[](int i) { return v[i]; }
  __device__ const T& operator[](int i) const { return v[i]; }
};

// As many elements as fit into 16 bytes.
template <class T>
inline constexpr int kVector = 16 / static_cast<int>(sizeof(T));

// What a memory instruction moves at once. The compiler splits a struct into its elements when it
// likes (bf16 eights become eight accesses, or seven stores); it does not split these.
template <int bytes>
using Bits = std::conditional_t<
    bytes == 16, uint4,
    std::conditional_t<bytes == 8, uint2,
                       std::conditional_t<bytes == 4, uint32_t,
                                          std::conditional_t<bytes == 2, uint16_t, uint8_t>>>>;

// Reads from device or shared memory. p must be aligned to the vector's size: the emulator reports
// where it is not.
template <int N, class T>
__device__ inline Vector<T, N> load(const T* p) {
#ifndef __CUDACC__
  check_alignment(p, sizeof(Vector<T, N>));
#endif
  return std::bit_cast<Vector<T, N>>(*reinterpret_cast<const Bits<sizeof(T) * N>*>(p));
}

// Writes to device memory. Even a store of 16-byte bits is split; this instruction is not.
template <int N, class T>
__device__ inline void store(T* p, const Vector<T, N>& value) {
#ifdef __CUDACC__
  if constexpr (sizeof(T) * N == 16) {
    const auto bits = std::bit_cast<uint4>(value);
    asm volatile("st.global.v4.b32 [%0], {%1,%2,%3,%4};" ::"l"(__cvta_generic_to_global(p)),
                 "r"(bits.x), "r"(bits.y), "r"(bits.z), "r"(bits.w)
                 : "memory");
    return;
  }
#else
  check_alignment(p, sizeof(Vector<T, N>));
#endif
  *reinterpret_cast<Bits<sizeof(T) * N>*>(p) = std::bit_cast<Bits<sizeof(T) * N>>(value);
}

// Writes to shared memory.
template <int N, class T>
__device__ inline void store_shared(T* p, const Vector<T, N>& value) {
#ifndef __CUDACC__
  check_alignment(p, sizeof(Vector<T, N>));
#endif
  *reinterpret_cast<Bits<sizeof(T) * N>*>(p) = std::bit_cast<Bits<sizeof(T) * N>>(value);
}

// Numbers as they are stored: bf16 two at a time, which one instruction rounds and packs.
template <class T, int N>
__device__ inline Vector<T, N> from_floats(const float (&x)[N]) {
  if constexpr (sizeof(T) == sizeof(bf16) && N % 2 == 0) {
    Vector<uint32_t, N / 2> pairs;
#pragma unroll
    for (int i = 0; i < N / 2; ++i) pairs[i] = pack_bf16(x[2 * i], x[2 * i + 1]);
    return std::bit_cast<Vector<T, N>>(pairs);
  } else {
    Vector<T, N> y;
#pragma unroll
    for (int i = 0; i < N; ++i) y[i] = from_float<T>(x[i]);
    return y;
  }
}

// Stored numbers in f32: bf16 two at a time, one instruction each.
template <class T, int N>
__device__ inline void to_floats(const Vector<T, N>& x, float (&y)[N]) {
  if constexpr (sizeof(T) == sizeof(bf16) && N % 2 == 0) {
    const auto pairs = std::bit_cast<Vector<uint32_t, N / 2>>(x);
#pragma unroll
    for (int i = 0; i < N / 2; ++i) {
      y[2 * i] = std::bit_cast<float>(pairs[i] << 16);
      y[2 * i + 1] = std::bit_cast<float>(pairs[i] & 0xffff0000u);
    }
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) y[i] = to_float(x[i]);
  }
}

// Whether a pointer (null counts) allows 16-byte access: launchers choose the kernel by it.
inline bool aligned16(const void* p) {
  return reinterpret_cast<uintptr_t>(p) % 16 == 0;
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
