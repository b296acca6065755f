// Which element of a matrix each register of each lane holds, against the tables of the PTX ISA
// ("Matrix Fragments for mma.m16n8k16 with floating point type", "ldmatrix"), written out.
#include <array>
#include <vector>

#include "kernels/cuda/device/cuda.h"
#include "kernels/cuda/device/mma.h"
#include "tests/emulator/support.h"

namespace diffscm::kernels::emu {
namespace {

// Rows of lanes 0..31 of the PTX ISA's figures: groupID and threadID_in_group.
constexpr int kGroup[32] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3,
                            4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7};
constexpr int kInGroup[32] = {0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3,
                              0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3};

// Elements a0..a7 of A: two to a register, the lower one first.
//   row = groupID            for a0, a1, a4, a5;   groupID + 8 for a2, a3, a6, a7
//   col = 2 t + (i & 1)      for a0..a3;           2 t + (i & 1) + 8 for a4..a7
struct Place {
  int row, column;
};
constexpr Place place_a(int lane, int i) {
  constexpr int kRow[8] = {0, 0, 8, 8, 0, 0, 8, 8};
  constexpr int kColumn[8] = {0, 1, 0, 1, 8, 9, 8, 9};
  return {kGroup[lane] + kRow[i], 2 * kInGroup[lane] + kColumn[i]};
}
// Elements b0..b3 of B: row = 2 t + (i & 1) (+ 8 for b2, b3), col = groupID.
constexpr Place place_b(int lane, int i) {
  constexpr int kRow[4] = {0, 1, 8, 9};
  return {2 * kInGroup[lane] + kRow[i], kGroup[lane]};
}
// Elements c0..c3 of C and D: row = groupID (+ 8 for c2, c3), col = 2 t + (i & 1).
constexpr Place place_d(int lane, int i) {
  constexpr int kRow[4] = {0, 0, 8, 8};
  constexpr int kColumn[4] = {0, 1, 0, 1};
  return {kGroup[lane] + kRow[i], 2 * kInGroup[lane] + kColumn[i]};
}

struct Fragments {
  uint32_t a[32][4], b[32][2];
  float d[32][4];
};

__global__ void multiply(Fragments* f) {
  const unsigned lane = threadIdx.x;
  float d[4];
  for (int i = 0; i < 4; ++i) d[i] = f->d[lane][i];
  mma_m16n8k16(d, f->a[lane], f->b[lane]);
  for (int i = 0; i < 4; ++i) f->d[lane][i] = d[i];
}

void put(uint32_t* registers, int i, float x) {
  registers[i / 2] |= static_cast<uint32_t>(to_bf16(x).bits) << (i % 2 * 16);
}

// Every product of one element of A and one of B lands where the tables say, and only there.
TEST(Fragments, MmaOneElementAtATime) {
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < 16; ++k) {
      for (int column = 0; column < 8; ++column) {
        Fragments f{};
        for (int lane = 0; lane < 32; ++lane) {
          for (int i = 0; i < 8; ++i) {
            const Place p = place_a(lane, i);
            if (p.row == row && p.column == k) put(f.a[lane], i, 3.0f);
          }
          for (int i = 0; i < 4; ++i) {
            const Place p = place_b(lane, i);
            if (p.row == k && p.column == column) put(f.b[lane], i, 5.0f);
          }
          for (int i = 0; i < 4; ++i) f.d[lane][i] = 0.25f;
        }
        launch<multiply>(1, 32, 0, {}, &f);
        for (int lane = 0; lane < 32; ++lane) {
          for (int i = 0; i < 4; ++i) {
            const Place p = place_d(lane, i);
            ASSERT_EQ(f.d[lane][i], p.row == row && p.column == column ? 15.25f : 0.25f)
                << "A(" << row << "," << k << ") B(" << k << "," << column << ") lane " << lane
                << " element " << i;
          }
        }
      }
    }
  }
}

struct Matrices {
  alignas(16) uint16_t element[4][8][8];  // matrix, row, column
};

template <bool transposed>
__global__ void load_matrices(const Matrices* from, uint32_t* to) {
  auto& s = shared_memory<Matrices>();
  const unsigned lane = threadIdx.x;
  for (int column = 0; column < 8; ++column)
    s.element[lane / 8][lane % 8][column] = from->element[lane / 8][lane % 8][column];
  __syncwarp();
  uint32_t r[4];
  const void* row = s.element[lane / 8][lane % 8];
  transposed ? ldmatrix_x4_transposed(r, row) : ldmatrix_x4(r, row);
  for (int i = 0; i < 4; ++i) to[lane * 4 + i] = r[i];
}

template <bool transposed>
void check_load() {
  Matrices from;
  for (int m = 0; m < 4; ++m)
    for (int row = 0; row < 8; ++row)
      for (int column = 0; column < 8; ++column)
        from.element[m][row][column] = static_cast<uint16_t>(1000 * m + 10 * row + column);
  std::vector<uint32_t> to(32 * 4);
  launch<load_matrices<transposed>>(1, 32, sizeof(Matrices), {}, &from, to.data());
  for (int lane = 0; lane < 32; ++lane) {
    for (int m = 0; m < 4; ++m) {
      // Row groupID, columns 2 t and 2 t + 1; transposed: column groupID, rows 2 t and 2 t + 1.
      const int g = kGroup[lane], t = 2 * kInGroup[lane];
      const int low = transposed ? 10 * t + g : 10 * g + t;
      const int high = transposed ? 10 * (t + 1) + g : 10 * g + t + 1;
      EXPECT_EQ(to[lane * 4 + m] & 0xffff, static_cast<unsigned>(1000 * m + low));
      EXPECT_EQ(to[lane * 4 + m] >> 16, static_cast<unsigned>(1000 * m + high));
    }
  }
}

TEST(Fragments, Ldmatrix) {
  test::in_every_order([] {
    check_load<false>();
    check_load<true>();
  });
}

__global__ void store_matrices(const uint32_t* from, Matrices* to) {
  Matrices& s = shared_memory<Matrices>();
  const int lane = static_cast<int>(threadIdx.x);
  const uint32_t r[4] = {from[lane * 4], from[lane * 4 + 1], from[lane * 4 + 2],
                         from[lane * 4 + 3]};
  for (uint16_t& x : s.element[lane / 8][lane % 8]) x = 4711;
  __syncwarp();
  stmatrix_x4(s.element[lane / 8][lane % 8], r, lane != 13);
  __syncwarp();
  for (int i = 0; i < 8; ++i) to->element[lane / 8][lane % 8][i] = s.element[lane / 8][lane % 8][i];
}

TEST(Fragments, Stmatrix) {
  std::vector<uint32_t> from(32 * 4);
  for (uint32_t i = 0; i < from.size(); ++i) from[i] = 2 * i | (2 * i + 1) << 16;
  Matrices to;
  launch<store_matrices>(1, 32, sizeof(Matrices), {}, from.data(), &to);
  for (const uint16_t x : to.element[1][5]) EXPECT_EQ(x, 4711);  // lane 13's
  for (int lane = 0; lane < 32; ++lane)
    for (int m = 0; m < 4; ++m)
      for (int half = 0; half < 2; ++half)
        if (8 * m + kGroup[lane] != 13) {
          EXPECT_EQ(to.element[m][kGroup[lane]][2 * kInGroup[lane] + half],
                    2 * (lane * 4 + m) + half);
        }
}

// What mma.h promises: ldmatrix_x4 of the quadrants (top left, bottom left, top right, bottom
// right) gives exactly mma's A fragment.
TEST(Fragments, LdmatrixGivesTheAFragment) {
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 8; ++i) {
      const int matrix = i / 2;
      const int row = kGroup[lane] + 8 * (matrix % 2);
      const int column = 2 * kInGroup[lane] + i % 2 + 8 * (matrix / 2);
      EXPECT_EQ(place_a(lane, i).row, row);
      EXPECT_EQ(place_a(lane, i).column, column);
    }
  }
}

}  // namespace
}  // namespace diffscm::kernels::emu
