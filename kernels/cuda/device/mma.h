// Tensor cores: mma.sync and ldmatrix (sm_80 and later), and stmatrix (sm_90 and later, empty for
// others), as a warp's collective operations. All 32 lanes must call each of them together.
//
// Fragments of mma.m16n8k16 (PTX ISA, "Matrix Fragments for mma.m16n8k16"), with g = lane / 4 and
// t = lane % 4; a 32-bit register holds two bf16 of adjacent columns, the lower column in the lower
// half:
//
//   A 16x16, row major        B 16x8 (k x n)            C, D 16x8 f32
//   a[0]: (g,   2t..2t+1)     b[0]: (2t..2t+1,   g)     d[0], d[1]: (g,   2t), (g,   2t+1)
//   a[1]: (g+8, 2t..2t+1)     b[1]: (2t+8..2t+9, g)     d[2], d[3]: (g+8, 2t), (g+8, 2t+1)
//   a[2]: (g,   2t+8..2t+9)
//   a[3]: (g+8, 2t+8..2t+9)
#pragma once

#include "kernels/cuda/device/shared_address.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

// d += A B for one 16x8 tile over k = 16, bf16 operands, f32 accumulation.
__device__ inline void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#ifdef __CUDACC__
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  emulate_mma_m16n8k16(d, a, b);
#endif
}

// Loads four 8x8 matrices of 16-bit elements from shared memory. Lane 8 i + r gives the address of
// row r (16 bytes, aligned) of matrix i; register i of lane l then holds elements (l / 4,
// 2 (l % 4) .. +1) of matrix i: exactly the A fragment above when the matrices are the quadrants
// (top left, bottom left, top right, bottom right).
__device__ inline void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
#ifdef __CUDACC__
  const auto address = shared_address_of(row);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
#else
  emulate_ldmatrix(r, 4, row, false);
#endif
}

// ldmatrix_x4 of rows `offset` bytes further: a part of the instruction, which costs nothing.
template <int offset>
__device__ inline void ldmatrix_x4_at(uint32_t (&r)[4], SharedAddress row) {
#ifdef __CUDACC__
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4+%5];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row), "n"(offset)
               : "memory");
#else
  emulate_ldmatrix(r, 4, reinterpret_cast<const void*>(row + offset), false);
#endif
}

// ldmatrix_x4 with every matrix transposed: lane l receives elements (2 (l % 4) .. +1, l / 4).
__device__ inline void ldmatrix_x4_transposed(uint32_t (&r)[4], const void* row) {
#ifdef __CUDACC__
  const auto address = shared_address_of(row);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
#else
  emulate_ldmatrix(r, 4, row, true);
#endif
}

// Stores four 8x8 matrices to shared memory: registers and rows as ldmatrix_x4 has them. A row that
// is not `wanted` is stored, too, to 16 bytes that nobody reads and all may have in common.
__device__ inline void stmatrix_x4(void* row, const uint32_t (&r)[4],
                                   [[maybe_unused]] bool wanted = true) {
#ifdef __CUDACC__
#if __CUDA_ARCH__ >= 900
  const auto address = shared_address_of(row);
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(address),
               "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
               : "memory");
#endif
#else
  emulate_stmatrix(wanted ? row : nullptr, r);
#endif
}

}  // namespace diffscm::kernels::DIFFSCM_TARGET
