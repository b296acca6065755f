// Warpgroup matrix products of sm_90a: wgmma.mma_async. Four warps, 128 threads whose number begins
// at a multiple of 128, multiply together; both operands are read from shared memory, the sums stay
// in registers. All threads of the warpgroup must call each of these functions together.
//
// The products are asynchronous: a thread starts some, closes the group, does something else, and
// waits. In between, neither the sums nor the operands may be touched. The order of a kernel is
//   operands written to shared memory; async_proxy_fence(), barrier     (each thread that wrote)
//   warpgroup_fence(); warpgroup_mma(...) ...; warpgroup_commit();
//   warpgroup_wait<pending>();
//
// Operands (PTX ISA, "Asynchronous warpgroup level matrix shared memory layout", canonical layouts
// with 128-byte swizzling) are made of patterns of 8 rows of 128 bytes, 64 bf16; the eight 16-byte
// chunks of a row are permuted by XOR with the row's number, so that a column of chunks meets all
// banks. A lies along the summed index: row m of a pattern holds 64 values of k. B does too, or
// lies along its columns: then row k holds 64 columns n, and patterns for further n follow in
// blocks. Patterns begin at multiples of 1024 bytes; a product reads 16 values of k.
//
// The sums d of a 64 x N tile (same source, "Matrix fragments for wgmma.mma_async.m64nNk16"), with
// g = lane / 4, t = lane % 4 and the warp's number w within its group:
//   d[4 j], d[4 j + 1]:      row 16 w + g,     columns 8 j + 2 t, + 1
//   d[4 j + 2], d[4 j + 3]:  row 16 w + g + 8, the same columns
#pragma once

#include "kernels/cuda/device/cuda.h"
#ifndef __CUDACC__
#include "kernels/emulator/warpgroup.h"
#endif

namespace diffscm::kernels::DIFFSCM_TARGET {

inline constexpr int kWarpgroup = 128;  // threads

#ifdef __CUDACC__
// Whether the device has these instructions: compute capability 9.0, and none after it.
bool has_wgmma();
#endif

// Whether this compilation has them: kernels are empty where a file is compiled for another
// architecture, too.
#if defined(__CUDA_ARCH__) && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
inline constexpr bool kHasWarpgroups = false;
#else
inline constexpr bool kHasWarpgroups = true;
#endif
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define DIFFSCM_WGMMA(...) asm volatile(__VA_ARGS__)
#else
#define DIFFSCM_WGMMA(...)
#endif

inline constexpr int kPatternBytes = 1024;

// kRows rows of 64 bf16, in patterns.
template <int kRows>
struct alignas(kPatternBytes) SwizzledRows {
  static constexpr int kRowBytes = 128;
  bf16 at[kRows][64];

  // Where chunk `chunk` (eight numbers) of a row lies.
  __device__ bf16* chunk(int row, int chunk) { return &at[row][(chunk ^ (row & 7)) * 8]; }
};

#ifdef __CUDACC__
// The block's dynamic shared memory as one struct of the kernel's own, for structs with such rows.
template <class T>
__device__ T& swizzled_shared_memory() {
  extern __shared__ __align__(kPatternBytes) unsigned char swizzled_bytes_[];
  return *reinterpret_cast<T*>(swizzled_bytes_);
}
#endif

// How wgmma is told where an operand lies: patterns one after the other from `first` on, and (only
// where the rows lie along n) the next 64 columns `block_bytes` further. Another place in the same
// patterns is descriptor + bytes / 16.
__device__ inline uint64_t matrix_descriptor(const void* first, int block_bytes = 16) {
#ifdef __CUDACC__
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(first));
#else
  const uint32_t address = emulate_shared_address(first);
#endif
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
  constexpr uint64_t kPatternsApart = uint64_t{kPatternBytes >> 4} << 32;
  return kSwizzle128 | kPatternsApart | static_cast<uint64_t>(block_bytes >> 4) << 16 |
         (address & 0x3ffff) >> 4;
}

// Makes what this thread wrote to shared memory, also by copies that it has waited for, visible to
// wgmma.
__device__ inline void async_proxy_fence() {
#ifdef __CUDACC__
  DIFFSCM_WGMMA("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

// Before the first product, and before products on sums that the threads have touched.
__device__ inline void warpgroup_fence() {
#ifdef __CUDACC__
  DIFFSCM_WGMMA("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}

// Closes the group of products started since the last call.
__device__ inline void warpgroup_commit() {
#ifdef __CUDACC__
  DIFFSCM_WGMMA("wgmma.commit_group.sync.aligned;" ::: "memory");
#else
  emulate_warpgroup_commit();
#endif
}

// Waits until at most `pending` groups are under way.
template <int pending>
__device__ inline void warpgroup_wait() {
#ifdef __CUDACC__
  DIFFSCM_WGMMA("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
#else
  emulate_warpgroup_wait(pending);
#endif
}

// Tells the compiler, which knows nothing of that, that the sums are there only now.
template <int count>
__device__ inline void arrived([[maybe_unused]] float (&d)[count]) {
#ifdef __CUDACC__
#pragma unroll
  for (float& x : d) asm volatile("" : "+f"(x)::"memory");
#endif
}

#define DIFFSCM_SUMS_8(i)                                                                     \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
      "+f"(d[i + 6]), "+f"(d[i + 7])
#define DIFFSCM_SUMS_32(i) \
  DIFFSCM_SUMS_8(i), DIFFSCM_SUMS_8(i + 8), DIFFSCM_SUMS_8(i + 16), DIFFSCM_SUMS_8(i + 24)

// Starts d += A B for 64 x N sums over k = 16, bf16 operands. N is 128 or 192. b_along_n: B's rows
// lie along its columns.
template <bool b_along_n>
__device__ inline void warpgroup_mma(float (&d)[64], uint64_t a, uint64_t b) {
#ifdef __CUDACC__
  DIFFSCM_WGMMA(
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,"
      "%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,"
      "%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63}, "
      "%64, %65, 1, 1, 1, 0, %66;"
      : DIFFSCM_SUMS_32(0), DIFFSCM_SUMS_32(32)
      : "l"(a), "l"(b), "n"(b_along_n ? 1 : 0));
#else
  emulate_warpgroup_mma(d, 128, a, b, b_along_n);
#endif
}
template <bool b_along_n>
__device__ inline void warpgroup_mma(float (&d)[96], uint64_t a, uint64_t b) {
#ifdef __CUDACC__
  DIFFSCM_WGMMA(
      "wgmma.mma_async.sync.aligned.m64n192k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,"
      "%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,"
      "%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,%64,%65,%66,%67,"
      "%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,"
      "%90,%91,%92,%93,%94,%95}, "
      "%96, %97, 1, 1, 1, 0, %98;"
      : DIFFSCM_SUMS_32(0), DIFFSCM_SUMS_32(32), DIFFSCM_SUMS_32(64)
      : "l"(a), "l"(b), "n"(b_along_n ? 1 : 0));
#else
  emulate_warpgroup_mma(d, 192, a, b, b_along_n);
#endif
}

#undef DIFFSCM_SUMS_32
#undef DIFFSCM_SUMS_8
#undef DIFFSCM_WGMMA

}  // namespace diffscm::kernels::DIFFSCM_TARGET
