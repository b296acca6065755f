#include "kernels/emulator/warpgroup.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>

#include "kernels/emulator/block.h"
#include "kernels/emulator/race.h"

namespace diffscm::kernels::emulator {
namespace {

constexpr int kInner = 16;  // values of k in a product

// A descriptor's fields (PTX ISA, "Matrix descriptor format").
struct Operand {
  uint32_t start, block_bytes, pattern_bytes;

  Operand(uint64_t bits, Site site)
      : start((bits & 0x3fff) << 4),
        block_bytes((bits >> 16 & 0x3fff) << 4),
        pattern_bytes((bits >> 32 & 0x3fff) << 4) {
    constexpr uint64_t kKnown = 0x3fff | uint64_t{0x3fff} << 16 | uint64_t{0x3fff} << 32;
    if ((bits & ~kKnown) != uint64_t{1} << 62)
      Block::running()->fail(
          fmt::format("matrix descriptor {:#x}: only 128-byte swizzling without base offset is "
                      "emulated",
                      bits),
          site);
  }

  // `bytes` from byte `byte` on of a row of the patterns that begin at the start, or of a further
  // block of them.
  const unsigned char* at(int row, int byte, int block, int bytes, Site site) const {
    const uint32_t plain =
        start + block * block_bytes + row / 8 * pattern_bytes + row % 8 * 128 + byte;
    const uint32_t address = plain ^ (plain >> 7 & 7) << 4;
    if (address + bytes > shared_block.bytes)
      Block::running()->fail(
          fmt::format("wgmma reads byte {} of {} of shared memory", address, shared_block.bytes),
          site);
    return static_cast<const unsigned char*>(shared_block.data) + address;
  }
};

float number(const unsigned char* bytes) {
  uint16_t bits;
  std::memcpy(&bits, bytes, 2);
  return std::bit_cast<float>(uint32_t{bits} << 16);
}

// What the running lane needs of a product: two rows of A, two columns of B in each eight. Calls
// f(address, bytes) for each piece of up to 16 bytes.
template <class F>
void each_piece(const WarpgroupProducts::Product& p, F f) {
  const unsigned rank = Block::running()->self().rank;
  const int lane = static_cast<int>(rank % 32);
  const Operand a(p.a, p.site), b(p.b, p.site);
  const int row = static_cast<int>(rank / 32 % 4) * 16 + lane / 4;
  for (int half = 0; half < 2; ++half)
    for (int piece = 0; piece < 2; ++piece) f(a.at(row + 8 * half, 16 * piece, 0, 16, p.site), 16);
  for (int n = lane % 4 * 2; n < p.columns; n += 8) {
    if (p.b_along_n) {
      for (int k = 0; k < kInner; ++k) f(b.at(k, n % 64 * 2, n / 64, 4, p.site), 4);
    } else {
      for (int column = n; column < n + 2; ++column)
        for (int piece = 0; piece < 2; ++piece) f(b.at(column, 16 * piece, 0, 16, p.site), 16);
    }
  }
}

uint64_t sum_of_operands(const WarpgroupProducts::Product& p) {
  uint64_t sum = 0;
  each_piece(p, [&](const unsigned char* bytes, int count) {
    for (int i = 0; i < count; i += 4) {
      uint32_t word;
      std::memcpy(&word, bytes + i, 4);
      sum = (sum ^ word) * 0x100000001b3;  // as in the hash function FNV-1
    }
  });
  return sum;
}

// Sums are formed in the order of k, as those of mma (tensor_cores.cpp).
void multiply(const WarpgroupProducts::Product& p) {
  float a[2][kInner], b[kInner][2];
  int i = 0;
  float* d = p.d;
  each_piece(p, [&](const unsigned char* bytes, int count) {
    if (race::kChecked) race::access(bytes, count, race::Access::read, p.site.pc);
    if (i < 4) {
      for (int k = 0; k < 8; ++k) a[i / 2][i % 2 * 8 + k] = number(bytes + 2 * k);
      ++i;
      return;
    }
    const int piece = i++ - 4;
    bool whole;
    if (p.b_along_n) {
      for (int column = 0; column < 2; ++column)
        b[piece % kInner][column] = number(bytes + 2 * column);
      whole = piece % kInner == kInner - 1;
    } else {
      for (int k = 0; k < 8; ++k) b[piece % 2 * 8 + k][piece / 2 % 2] = number(bytes + 2 * k);
      whole = piece % 4 == 3;
    }
    if (!whole) return;
    for (int half = 0; half < 2; ++half)
      for (int column = 0; column < 2; ++column, ++d) {
        float sum = *d;
        for (int k = 0; k < kInner; ++k) sum += a[half][k] * b[k][column];
        *d = sum;
      }
  });
}

}  // namespace

void WarpgroupProducts::wait(unsigned pending) {
  size_t done = 0;
  for (; done < products_.size() && products_[done].group + pending < group_; ++done) {
    const Product& p = products_[done];
    if (sum_of_operands(p) != p.operands)
      Block::running()->fail(
          "operands of wgmma changed between its start and the wait for it: they were not there "
          "yet, or were overwritten too early",
          p.site);
    multiply(p);
  }
  products_.erase(products_.begin(), products_.begin() + static_cast<ptrdiff_t>(done));
}

}  // namespace diffscm::kernels::emulator

namespace diffscm::kernels::emu {

using emulator::Block;

uint32_t emulate_shared_address(const void* shared) {
  return static_cast<uint32_t>(static_cast<const unsigned char*>(shared) -
                               static_cast<const unsigned char*>(emulator::shared_block.data));
}

void emulate_warpgroup_mma(float* d, int columns, uint64_t a, uint64_t b, bool b_along_n,
                           const char* file, int line) {
  emulator::WarpgroupProducts::Product product{.d = d,
                                               .a = a,
                                               .b = b,
                                               .columns = columns,
                                               .b_along_n = b_along_n,
                                               .operands = 0,
                                               .site = {file, line, __builtin_return_address(0)},
                                               .group = 0};
  product.operands = emulator::sum_of_operands(product);
  Block::running()->self().products.start(product);
}

void emulate_warpgroup_commit() {
  Block::running()->self().products.commit();
}

void emulate_warpgroup_wait(int pending) {
  Block::running()->self().products.wait(static_cast<unsigned>(pending));
}

}  // namespace diffscm::kernels::emu
