// Vectors of up to 16 bytes, moved by one memory instruction.
#pragma once

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

// p must be aligned to the vector's size: the emulator reports where it is not.
template <int N, class T>
__device__ inline Vector<T, N> load(const T* p) {
#ifndef __CUDACC__
  check_alignment(p, sizeof(Vector<T, N>));
#endif
  return *reinterpret_cast<const Vector<T, N>*>(p);
}
template <int N, class T>
__device__ inline void store(T* p, const Vector<T, N>& value) {
#ifndef __CUDACC__
  check_alignment(p, sizeof(Vector<T, N>));
#endif
  *reinterpret_cast<Vector<T, N>*>(p) = value;
}

// Whether a pointer (null counts) allows 16-byte access: launchers choose the kernel by it.
inline bool aligned16(const void* p) {
  return reinterpret_cast<uintptr_t>(p) % 16 == 0;
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
