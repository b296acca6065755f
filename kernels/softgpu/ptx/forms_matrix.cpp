// The matrix instructions of a warp: ldmatrix and mma.sync (PTX ISA 9.7.14.5).
//
// A fragment is the part of a matrix that a lane holds. With g = lane / 4 and t = lane % 4, an 8x8
// matrix of 16-bit numbers puts row g, columns 2t and 2t + 1, into the lane's register; larger
// operands are made of such matrices.
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
template <int matrices, bool transposed>
void load_matrix(Warp& w, const Instruction& i) {
  require_whole_warp(w, "ldmatrix");
  uint32_t address[kLanes] = {}, high = 0, bits = 0;
  for (int l = 0; l < 8 * matrices; ++l) {
    address[l] = w.at<uint32_t>(i.operand[0])[l] + uint32_t(i.immediate);
    high = std::max(high, address[l]), bits |= address[l];
  }
  if constexpr (matrices < 4) w.active = (1u << 8 * matrices) - 1;  // whose addresses count
  w.block->check_shared(w, address, high, bits, 16);
  const Slot* d = w.vector(i);
  for (int m = 0; m < matrices; ++m) {
    uint16_t rows[8][8];
    for (int r = 0; r < 8; ++r) std::memcpy(rows[r], w.block->shared() + address[8 * m + r], 16);
    auto* to = w.at<uint32_t>(d[m]);
    for (int l = 0; l < kLanes; ++l) {
      const int g = l / 4, c = 2 * (l % 4);
      to[l] = transposed ? rows[c][g] | uint32_t{rows[c + 1][g]} << 16
                         : rows[g][c] | uint32_t{rows[g][c + 1]} << 16;
    }
  }
}

float low(uint32_t pair) {
  return std::bit_cast<float>(pair << 16);
}
float high(uint32_t pair) {
  return std::bit_cast<float>(pair & 0xffff0000u);
}

// D (16x8, f32) = A (16x16, bf16, by rows) B (16x8, bf16, by columns) + C. Products of bf16 are
// exact in f32, their sums are formed in the order of k. (A tensor core adds in another order and
// with another rounding: results on a GPU differ in the last bits.)
struct Mma {
  DIFFSCM_LANES_INLINE static void leaf(Warp& w, const Instruction& i) {
    if (w.active != kAllLanes) require_whole_warp(w, "mma.sync");
    const Slot* slot = w.vector(i);  // d0-3, a0-3, b0-1, c0-3
    alignas(64) float a[16][16], b[16][8], d[16][8];
    for (int k = 0; k < 4;
         ++k) {  // a_k: rows g (+ 8 for odd k), columns 2t, 2t + 1 (+ 8 from 2 on)
      const auto* from = w.at<uint32_t>(slot[4 + k]);
      for (int l = 0; l < kLanes; ++l) {
        float* pair = &a[l / 4 + 8 * (k % 2)][2 * (l % 4) + 8 * (k / 2)];
        pair[0] = low(from[l]);
        pair[1] = high(from[l]);
      }
    }
    for (int k = 0; k < 2; ++k) {  // b_k: rows 2t, 2t + 1 (+ 8), column g
      const auto* from = w.at<uint32_t>(slot[8 + k]);
      for (int l = 0; l < kLanes; ++l) {
        const int row = 2 * (l % 4) + 8 * k;
        b[row][l / 4] = low(from[l]);
        b[row + 1][l / 4] = high(from[l]);
      }
    }
    for (int k = 0; k < 4; ++k) {  // c_k, d_k: row g (+ 8 from 2 on), column 2t + k % 2
      const auto* from = w.at<float>(slot[10 + k]);
      for (int l = 0; l < kLanes; ++l) d[l / 4 + 8 * (k / 2)][2 * (l % 4) + k % 2] = from[l];
    }
    multiply(a, b, d);
    for (int k = 0; k < 4; ++k) {
      auto* to = w.at<float>(slot[k]);
      for (int l = 0; l < kLanes; ++l) to[l] = d[l / 4 + 8 * (k / 2)][2 * (l % 4) + k % 2];
    }
  }

  // Two rows of eight columns side by side fill a vector of 16.
  DIFFSCM_LANES_INLINE static void multiply(const float (&a)[16][16], const float (&b)[16][8],
                                            float (&d)[16][8]) {
    using Eight = float __attribute__((vector_size(32)));
    Eight columns[16];
    std::memcpy(columns, b, sizeof(columns));
    for (int top = 0; top < 16; top += 8) {
      Eight sum[8];
      std::memcpy(sum, d[top], sizeof(sum));
      for (int k = 0; k < 16; ++k)
        for (int r = 0; r < 8; ++r) sum[r] += a[top + r][k] * columns[k];
      std::memcpy(d[top], sum, sizeof(sum));
    }
  }
};

}  // namespace

void add_matrix_forms(Forms& f) {
  const auto kind = InstructionClass::load_matrix;
  const std::string begin = "ldmatrix.sync.aligned.m8n8.x";
  for (const std::string space : {".shared.b16", ".shared::cta.b16"}) {
    f.add(begin + "1" + space, {load_matrix<1, false>, kind, "v1x4 = s", 16});
    f.add(begin + "2" + space, {load_matrix<2, false>, kind, "v2x4 = s", 16});
    f.add(begin + "4" + space, {load_matrix<4, false>, kind, "v4x4 = s", 16});
    f.add(begin + "1.trans" + space, {load_matrix<1, true>, kind, "v1x4 = s", 16});
    f.add(begin + "2.trans" + space, {load_matrix<2, true>, kind, "v2x4 = s", 16});
    f.add(begin + "4.trans" + space, {load_matrix<4, true>, kind, "v4x4 = s", 16});
  }
  f.add("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32",
        {Cloned<Mma::leaf>::chosen(), InstructionClass::matrix, "v4x4 = v4x4 v2x4 v4x4"});
}

}  // namespace diffscm::softgpu
