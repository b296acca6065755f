#include "kernels/emulator/tensor_cores.h"

#include <bit>
#include <cstring>

#include "kernels/emulator/block.h"
#include "kernels/emulator/race.h"

namespace diffscm::kernels::emulator {
namespace {

float low(uint32_t pair) {
  return std::bit_cast<float>(pair << 16);
}
float high(uint32_t pair) {
  return std::bit_cast<float>(pair & 0xffff0000u);
}

}  // namespace

// Products of two bf16 are exact in f32; their sums are formed in the order of k. (A tensor core
// adds in another order and with another rounding: results on a GPU differ in the last bits.)
void mma_m16n8k16(const Operands& lanes) {
  using Four = float __attribute__((vector_size(16)));
  float a[16][16];
  float b[16][8];
  float d[16][8];
  // D first and A last: what is read as vectors should have left the store buffer by then.
  for (int lane = 0; lane < 32; ++lane) {
    const auto* rd = static_cast<const float*>(lanes[lane]->out);
    for (int i = 0; i < 4; ++i) d[lane / 4 + 8 * (i / 2)][2 * (lane % 4) + i % 2] = rd[i];
  }
  for (int lane = 0; lane < 32; ++lane) {
    const auto* rb = static_cast<const uint32_t*>(lanes[lane]->in2);
    for (int i = 0; i < 2; ++i) {
      const int k = 2 * (lane % 4) + 8 * i;
      b[k][lane / 4] = low(rb[i]);
      b[k + 1][lane / 4] = high(rb[i]);
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const auto* ra = static_cast<const uint32_t*>(lanes[lane]->in);
    for (int i = 0; i < 4; ++i) {
      float* pair = &a[lane / 4 + 8 * (i % 2)][2 * (lane % 4) + 8 * (i / 2)];
      pair[0] = low(ra[i]);
      pair[1] = high(ra[i]);
    }
  }
  // Four rows at a time: enough sums that do not wait for each other.
  for (int top = 0; top < 16; top += 4) {
    Four sum[4][2];
    std::memcpy(sum, d[top], sizeof(sum));
    for (int k = 0; k < 16; ++k) {
      Four row[2];
      std::memcpy(row, b[k], sizeof(row));
      for (int i = 0; i < 4; ++i) {
        sum[i][0] += a[top + i][k] * row[0];
        sum[i][1] += a[top + i][k] * row[1];
      }
    }
    std::memcpy(d[top], sum, sizeof(sum));
  }
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = 2 * (lane % 4);
    auto* rd = static_cast<float*>(lanes[lane]->out);
    for (int i = 0; i < 4; ++i) rd[i] = d[g + 8 * (i / 2)][t + i % 2];
  }
}

void ldmatrix(const Operands& lanes) {
  const bool transposed = lanes[0]->width == 1;
  for (int matrix = 0; matrix < lanes[0]->argument; ++matrix) {
    uint16_t m[8][8];
    for (int row = 0; row < 8; ++row) std::memcpy(m[row], lanes[8 * matrix + row]->in, 16);
    for (int lane = 0; lane < 32; ++lane) {
      const int g = lane / 4, t = 2 * (lane % 4);
      static_cast<uint32_t*>(lanes[lane]->out)[matrix] =
          transposed ? m[t][g] | uint32_t{m[t + 1][g]} << 16
                     : m[g][t] | uint32_t{m[g][t + 1]} << 16;
    }
  }
}

void stmatrix(const Operands& lanes) {
  for (int matrix = 0; matrix < 4; ++matrix)
    for (int row = 0; row < 8; ++row) {
      auto* const to = static_cast<uint32_t*>(lanes[8 * matrix + row]->out);
      for (int t = 0; to != nullptr && t < 4; ++t)
        std::memcpy(to + t, static_cast<const uint32_t*>(lanes[4 * row + t]->in) + matrix, 4);
    }
}

}  // namespace diffscm::kernels::emulator

namespace diffscm::kernels::emu {

using emulator::Block;
using emulator::WarpOperation;

void emulate_mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                          const char* file, int line) {
  WarpOperation operation{.kind = WarpOperation::Kind::mma,
                          .in = a,
                          .in2 = b,
                          .out = d,
                          .site = {file, line, __builtin_return_address(0)}};
  Block::running()->warp_operation(operation, 0xffffffffu);
}

void emulate_ldmatrix(uint32_t* registers, int matrices, const void* row, bool transposed,
                      const char* file, int line) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) misaligned(row, 16, file, line);
  // The lane that gives a row's address counts as its reader.
  if (emulator::race::kChecked &&
      static_cast<int>(Block::running()->self().rank % 32) < 8 * matrices)
    emulator::race::access(row, 16, emulator::race::Access::read, __builtin_return_address(0));
  WarpOperation operation{.kind = WarpOperation::Kind::ldmatrix,
                          .in = row,
                          .out = registers,
                          .argument = matrices,
                          .width = transposed ? 1 : 0,
                          .site = {file, line, __builtin_return_address(0)}};
  Block::running()->warp_operation(operation, 0xffffffffu);
}

void emulate_stmatrix(void* row, const uint32_t (&registers)[4], const char* file, int line) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) misaligned(row, 16, file, line);
  // The lane that gives a row's address counts as its writer.
  if (emulator::race::kChecked && row != nullptr)
    emulator::race::access(row, 16, emulator::race::Access::write, __builtin_return_address(0));
  WarpOperation operation{.kind = WarpOperation::Kind::stmatrix,
                          .in = registers,
                          .out = row,
                          .site = {file, line, __builtin_return_address(0)}};
  Block::running()->warp_operation(operation, 0xffffffffu);
}

}  // namespace diffscm::kernels::emu
