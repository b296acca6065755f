// Warpgroup matrix products of sm_90a: wgmma.mma_async. Four warps, 128 threads whose number begins
// at a multiple of 128, multiply together; operands are read from shared memory, A may also come
// from registers, the sums stay in registers. All threads of the warpgroup must call each of these
// functions together.
//
// The products are asynchronous: a thread starts some, closes the group, does something else, and
// waits. In between, neither the sums nor the operands may be touched. The order of a kernel is
//   operands written to shared memory; async_proxy_fence(), barrier     (each thread that wrote)
//   warpgroup_fence(); warpgroup_mma(...) ...; warpgroup_commit();
//   warpgroup_wait<pending>();
//
// Operands (PTX ISA, "Asynchronous warpgroup level matrix shared memory layout", canonical layouts)
// have one of two layouts; a product reads 16 values of k. The two of a product may differ in it.
//
// Swizzled by 128 bytes: patterns of 8 rows of 128 bytes, 64 bf16; the eight 16-byte chunks of a
// row are permuted by XOR with the row's number, so that a column of chunks meets all banks. A lies
// along the summed index: row m of a pattern holds 64 values of k. B does too, or lies along its
// columns: then row k holds 64 columns n, and patterns for further n follow in blocks. Patterns
// begin at multiples of 1024 bytes.
//
// Plain: core matrices of 8 rows of 16 bytes, one row after the other; row m of A, or column n of
// B, holds 8 values of k. They begin at any multiple of 16 bytes.
//
// The sums d of a 64 x N tile (same source, "Matrix fragments for wgmma.mma_async.m64nNk16"), with
// g = lane / 4, t = lane % 4 and the warp's number w within its group:
//   d[4 j], d[4 j + 1]:      row 16 w + g,     columns 8 j + 2 t, + 1
//   d[4 j + 2], d[4 j + 3]:  row 16 w + g + 8, the same columns
// A in registers: each warp holds its 16 of the 64 rows as mma.m16n8k16 has them (mma.h), and they
// may not be written before the wait either.
#pragma once

#include "kernels/cuda/device/shared_address.h"
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

// A place in shared memory, a multiple of 16 bytes, as descriptors have it.
__device__ inline uint64_t described_address(const void* first) {
#ifdef __CUDACC__
  const auto address = shared_address_of(first);
#else
  const uint32_t address = emulate_shared_address(first);
#endif
  return (address & 0x3ffff) >> 4;
}

// How wgmma is told where an operand lies: patterns one after the other from `first` on, and (only
// where the rows lie along n) the next 64 columns `block_bytes` further. Another place in the same
// patterns is descriptor + bytes / 16.
__device__ inline uint64_t matrix_descriptor(const void* first, int block_bytes = 16) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
  constexpr uint64_t kPatternsApart = uint64_t{kPatternBytes >> 4} << 32;
  return kSwizzle128 | kPatternsApart | static_cast<uint64_t>(block_bytes >> 4) << 16 |
         described_address(first);
}

// The same for a plain operand: from the core matrix at `first` on, that of the next 8 values of k
// `k_apart` bytes further (the leading dimension byte offset, bits 16 to 29) and that of the next 8
// rows (of B: columns) `rows_apart` bytes further (the stride dimension byte offset, bits 32 to 45;
// CUTLASS has the same in mma_traits_sm90_gmma.hpp, Major::K, INTERLEAVE). Bits 62 and 63 are 0: no
// swizzling. `first` and both distances are multiples of 16 bytes, the distances less than 256 KB.
// Another place of the operand is descriptor + bytes / 16.
__device__ inline uint64_t plain_descriptor(const void* first, int k_apart, int rows_apart = 128) {
  return static_cast<uint64_t>(rows_apart >> 4) << 32 | static_cast<uint64_t>(k_apart >> 4) << 16 |
         described_address(first);
}

// The descriptor of another place of the operand, so many times 16 bytes further. Descriptors may
// be added to, too; this leaves the upper half as it is.
__device__ inline uint64_t moved(uint64_t descriptor, int sixteens) {
  const auto low = static_cast<uint32_t>(descriptor) + static_cast<uint32_t>(sixteens);
#ifdef __CUDACC__
  uint64_t result;
  asm("mov.b64 %0, {%1, %2};"
      : "=l"(result)
      : "r"(low), "r"(static_cast<uint32_t>(descriptor >> 32)));
  return result;
#else
  return descriptor >> 32 << 32 | low;
#endif
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

// Tells the compiler, which knows nothing of that, that the sums are there only now. Before
// warpgroup_fence(), too, if they have just been set: or it sets them after the fence.
template <int count>
__device__ inline void arrived([[maybe_unused]] float (&d)[count]) {
#ifdef __CUDACC__
#pragma unroll
  for (int i = 0; i < count; ++i) asm volatile("" : "+f"(d[i])::"memory");
#endif
}

// The sums in the instruction's text, and as the operands that they are there.
#define DIFFSCM_TEXT_4 "%0,%1,%2,%3"
#define DIFFSCM_TEXT_16 DIFFSCM_TEXT_4 ",%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15"
#define DIFFSCM_TEXT_32 \
  DIFFSCM_TEXT_16 ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define DIFFSCM_TEXT_64                                                  \
  DIFFSCM_TEXT_32                                                        \
  ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48" \
  ",%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define DIFFSCM_TEXT_96                                                  \
  DIFFSCM_TEXT_64                                                        \
  ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80" \
  ",%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"
#define DIFFSCM_SUMS_4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define DIFFSCM_SUMS_16(i) \
  DIFFSCM_SUMS_4(i), DIFFSCM_SUMS_4(i + 4), DIFFSCM_SUMS_4(i + 8), DIFFSCM_SUMS_4(i + 12)
#define DIFFSCM_SUMS_32(i) DIFFSCM_SUMS_16(i), DIFFSCM_SUMS_16(i + 16)
#define DIFFSCM_SUMS_64(i) DIFFSCM_SUMS_32(i), DIFFSCM_SUMS_32(i + 32)
#define DIFFSCM_SUMS_96(i) DIFFSCM_SUMS_64(i), DIFFSCM_SUMS_32(i + 64)
// The product of `columns` columns; the operands that follow its `sums` sums.
#define DIFFSCM_PRODUCT(columns, sums, second, along_n)                                  \
  DIFFSCM_WGMMA("wgmma.mma_async.sync.aligned.m64n" #columns                             \
                "k16.f32.bf16.bf16 {" DIFFSCM_TEXT_##sums "}, %" #sums ", %" #second     \
                                                          ", 1, 1, 1, 0, %" #along_n ";" \
                : DIFFSCM_SUMS_##sums(0)                                                 \
                : "l"(a), "l"(b), "n"(b_along_n ? 1 : 0))
// The same with A in registers, the operands `text`.
#define DIFFSCM_PRODUCT_OF_REGISTERS(columns, sums, text, b_at, along_n)              \
  DIFFSCM_WGMMA("wgmma.mma_async.sync.aligned.m64n" #columns                          \
                "k16.f32.bf16.bf16 {" DIFFSCM_TEXT_##sums "}, {" text "}, %" #b_at    \
                                                          ", 1, 1, 1, %" #along_n ";" \
                : DIFFSCM_SUMS_##sums(0)                                              \
                : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(b_along_n ? 1 : 0))

// Starts d += A B for 64 x N sums over k = 16, bf16 operands; a and b are descriptors. A thread has
// N / 2 sums, and N is 8, 32, 64, 128 or 192. b_along_n: B's rows lie along its columns (swizzled
// operands only).
template <bool b_along_n, int sums>
__device__ inline void warpgroup_mma(float (&d)[sums], uint64_t a, uint64_t b) {
  static_assert(sums == 4 || sums == 16 || sums == 32 || sums == 64 || sums == 96);
#ifdef __CUDACC__
  if constexpr (sums == 4) {
    DIFFSCM_PRODUCT(8, 4, 5, 6);
  } else if constexpr (sums == 16) {
    DIFFSCM_PRODUCT(32, 16, 17, 18);
  } else if constexpr (sums == 32) {
    DIFFSCM_PRODUCT(64, 32, 33, 34);
  } else if constexpr (sums == 64) {
    DIFFSCM_PRODUCT(128, 64, 65, 66);
  } else {
    DIFFSCM_PRODUCT(192, 96, 97, 98);
  }
#else
  emulate_warpgroup_mma(d, 2 * sums, a, b, b_along_n);
#endif
}

// The same with the warp's rows of A in registers; N is 128 or 192.
template <bool b_along_n, int sums>
__device__ inline void warpgroup_mma(float (&d)[sums], const uint32_t (&a)[4], uint64_t b) {
  static_assert(sums == 64 || sums == 96);
#ifdef __CUDACC__
  if constexpr (sums == 64) {
    DIFFSCM_PRODUCT_OF_REGISTERS(128, 64, "%64,%65,%66,%67", 68, 69);
  } else {
    DIFFSCM_PRODUCT_OF_REGISTERS(192, 96, "%96,%97,%98,%99", 100, 101);
  }
#else
  emulate_warpgroup_mma(d, 2 * sums, a, b, b_along_n);
#endif
}

#undef DIFFSCM_PRODUCT_OF_REGISTERS
#undef DIFFSCM_PRODUCT
#undef DIFFSCM_SUMS_96
#undef DIFFSCM_SUMS_64
#undef DIFFSCM_SUMS_32
#undef DIFFSCM_SUMS_16
#undef DIFFSCM_SUMS_4
#undef DIFFSCM_TEXT_96
#undef DIFFSCM_TEXT_64
#undef DIFFSCM_TEXT_32
#undef DIFFSCM_TEXT_16
#undef DIFFSCM_TEXT_4
#undef DIFFSCM_WGMMA

}  // namespace diffscm::kernels::DIFFSCM_TARGET
