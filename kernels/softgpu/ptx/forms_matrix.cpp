// The matrix instructions of a warp: ldmatrix, stmatrix and mma.sync (PTX ISA 9.7.14.5).
//
// A fragment is the part of a matrix that a lane holds. With g = lane / 4 and t = lane % 4, an 8x8
// matrix of 16-bit numbers puts row g, columns 2t and 2t + 1, into the lane's register: the 32
// registers one after the other are the matrix by rows. Larger operands are made of such matrices.
#include <cstring>

#include "kernels/softgpu/block.h"
#include "kernels/softgpu/ptx/forms.h"
#include "kernels/softgpu/ptx/lanes.h"

namespace diffscm::softgpu {
namespace {

void require_whole_warp(const Warp& w, const char* name) {
  if (w.active != kAllLanes)
    w.fault(std::countr_zero(w.active),
            fmt::format("{} needs the whole warp; lanes {:#010x} are here", name, w.active));
}

// Lane 8m + r gives the address of row r of matrix m: 8 numbers of 16 bits, aligned to 16 bytes.
template <int matrices>
struct Rows {
  uint32_t address[kLanes] = {};

  Rows(Warp& w, const Instruction& i, const char* name) {
    require_whole_warp(w, name);
    uint32_t high = 0, bits = 0;
    for (int l = 0; l < 8 * matrices; ++l) {
      address[l] = w.at<uint32_t>(i.operand[0])[l] + uint32_t(i.immediate);
      high = std::max(high, address[l]), bits |= address[l];
    }
    if constexpr (matrices < 4) w.active = (1u << 8 * matrices) - 1;  // whose addresses count
    w.block->check_shared(w, address, high, bits, 16);
  }
};

template <int matrices, bool transposed>
void load_matrix(Warp& w, const Instruction& i) {
  const Rows<matrices> from(w, i, "ldmatrix");
  const Slot* d = w.vector(i);
  for (int m = 0; m < matrices; ++m) {
    uint16_t rows[8][8];
    for (int r = 0; r < 8; ++r)
      std::memcpy(rows[r], w.block->shared() + from.address[8 * m + r], 16);
    auto* to = w.at<uint32_t>(d[m]);
    if constexpr (!transposed) {
      std::memcpy(to, rows, sizeof(rows));
    } else {
      for (int l = 0; l < kLanes; ++l) {
        const int g = l / 4, c = 2 * (l % 4);
        to[l] = rows[c][g] | uint32_t{rows[c + 1][g]} << 16;
      }
    }
  }
}

template <int matrices>
void store_matrix(Warp& w, const Instruction& i) {
  const Rows<matrices> to(w, i, "stmatrix");
  const Slot* d = w.vector(i);
  for (int m = 0; m < matrices; ++m)
    for (int r = 0; r < 8; ++r)
      std::memcpy(w.block->shared() + to.address[8 * m + r], w.at<uint32_t>(d[m]) + 4 * r, 16);
}

// The 8x8 matrix of the 32 registers at `slot`, by rows: pairs of bf16 (the first in the low half).
DIFFSCM_LANES_INLINE void unpack(const Warp& w, Slot slot, float (&m)[64]) {
  const auto* pairs = w.at<uint32_t>(slot);
  for (int l = 0; l < kLanes; ++l) {
    m[2 * l] = std::bit_cast<float>(pairs[l] << 16);
    m[2 * l + 1] = std::bit_cast<float>(pairs[l] & 0xffff0000u);
  }
}

// D (16x8, f32) = A (16x16, bf16, by rows) B (16x8, bf16, by columns) + C. Products of bf16 are
// exact in f32, their sums are formed in the order of k. (A tensor core adds in another order and
// with another rounding: results on a GPU differ in the last bits.)
//
// A is [[a0, a2], [a1, a3]], the transposed B is [b0, b1], and D is [[d0 d1], [d2 d3]], where d0
// holds the even columns and d1 the odd ones.
struct Mma {
  DIFFSCM_LANES_INLINE static void leaf(Warp& w, const Instruction& i) {
    if (w.active != kAllLanes) require_whole_warp(w, "mma.sync");
    const Slot* const slot = w.vector(i);
    const Slot *const d = slot, *const a = slot + 4, *const b = slot + 8, *const c = slot + 10;
    using Row = float __attribute__((vector_size(32)));
    Row columns[16];  // of B: row k
    for (int half = 0; half < 2; ++half) {
      float transposed[64];
      unpack(w, b[half], transposed);
      for (int k = 0; k < 8; ++k)
        for (int n = 0; n < 8; ++n) columns[8 * half + k][n] = transposed[8 * n + k];
    }
    for (int half = 0; half < 2; ++half) {  // rows 0-7, rows 8-15
      float left[64], right[64], result[64];
      unpack(w, a[half], left);
      unpack(w, a[half + 2], right);
      const auto *even = w.at<float>(c[2 * half]), *odd = w.at<float>(c[2 * half + 1]);
      for (int l = 0; l < kLanes; ++l) result[2 * l] = even[l], result[2 * l + 1] = odd[l];
      Row sum[8];
      std::memcpy(sum, result, sizeof(sum));
      for (int k = 0; k < 8; ++k)
        for (int r = 0; r < 8; ++r) sum[r] += left[8 * r + k] * columns[k];
      for (int k = 0; k < 8; ++k)
        for (int r = 0; r < 8; ++r) sum[r] += right[8 * r + k] * columns[8 + k];
      std::memcpy(result, sum, sizeof(sum));
      auto *d_even = w.at<float>(d[2 * half]), *d_odd = w.at<float>(d[2 * half + 1]);
      for (int l = 0; l < kLanes; ++l) d_even[l] = result[2 * l], d_odd[l] = result[2 * l + 1];
    }
  }
};

}  // namespace

void add_matrix_forms(Forms& f) {
  const auto kind = InstructionClass::load_matrix;
  const std::string begin = "ldmatrix.sync.aligned.m8n8.x";
  for (const std::string space : {".shared.b16", ".shared::cta.b16"}) {
    f.add(begin + "1" + space, {load_matrix<1, false>, kind, "v1x4 = s"});
    f.add(begin + "2" + space, {load_matrix<2, false>, kind, "v2x4 = s"});
    f.add(begin + "4" + space, {load_matrix<4, false>, kind, "v4x4 = s"});
    f.add(begin + "1.trans" + space, {load_matrix<1, true>, kind, "v1x4 = s"});
    f.add(begin + "2.trans" + space, {load_matrix<2, true>, kind, "v2x4 = s"});
    f.add(begin + "4.trans" + space, {load_matrix<4, true>, kind, "v4x4 = s"});
    f.add("stmatrix.sync.aligned.m8n8.x4" + space,
          {store_matrix<4>, InstructionClass::store_shared, "= s v4x4"});
  }
  f.add("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32",
        {Cloned<Mma::leaf>::chosen(), InstructionClass::matrix, "v4x4 = v4x4 v2x4 v4x4"});
}

}  // namespace diffscm::softgpu
