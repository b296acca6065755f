#include "kernels/emulator/warpgroup.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>

#include "kernels/emulator/block.h"
#include "kernels/emulator/race.h"

namespace diffscm::kernels::emulator {
namespace {

constexpr int kInner = 16;  // values of k in a product

// A descriptor (PTX ISA, "Matrix descriptor format"), with 128-byte swizzling or without any.
class Operand {
 public:
  Operand(uint64_t bits, bool along_n, Site site)
      : start_((bits & 0x3fff) << 4),
        leading_((bits >> 16 & 0x3fff) << 4),
        stride_((bits >> 32 & 0x3fff) << 4),
        swizzled_(bits >> 62 == 1),
        site_(site) {
    constexpr uint64_t kFields = 0x3fff | uint64_t{0x3fff} << 16 | uint64_t{0x3fff} << 32;
    constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
    if ((bits & ~(kFields | kSwizzle128)) != 0)
      refuse(bits, "only 128-byte swizzling or none is emulated, without base offset");
    if (along_n && !swizzled_)
      refuse(bits, "B along its columns is emulated with 128-byte swizzling only");
  }

  // `bytes` from byte `byte` on of a row along k, as many as do not leave its 16-byte chunk.
  const unsigned char* along_k(int row, int byte, int bytes) const {
    if (swizzled_) return swizzled(start_ + row / 8 * stride_ + row % 8 * 128 + byte, bytes);
    return at(start_ + row / 8 * stride_ + row % 8 * 16 + byte / 16 * leading_ + byte % 16, bytes);
  }
  // The same of row k, which lies along n: 128 bytes of it in each block of patterns.
  const unsigned char* along_n(int k, int byte, int bytes) const {
    return swizzled(start_ + byte / 128 * leading_ + k / 8 * stride_ + k % 8 * 128 + byte % 128,
                    bytes);
  }

 private:
  const unsigned char* swizzled(uint32_t address, int bytes) const {
    return at(address ^ (address >> 7 & 7) << 4, bytes);
  }
  const unsigned char* at(uint32_t address, int bytes) const {
    if (address + bytes > shared_block.bytes)
      Block::running()->fail(
          fmt::format("wgmma reads byte {} of {} of shared memory", address, shared_block.bytes),
          site_);
    return static_cast<const unsigned char*>(shared_block.data) + address;
  }
  void refuse(uint64_t bits, const char* why) const {
    Block::running()->fail(fmt::format("matrix descriptor {:#x}: {}", bits, why), site_);
  }

  uint32_t start_, leading_, stride_;
  bool swizzled_;
  Site site_;
};

float number(const unsigned char* bytes) {
  uint16_t bits;
  std::memcpy(&bits, bytes, 2);
  return std::bit_cast<float>(uint32_t{bits} << 16);
}

// What the running lane needs of a product in shared memory: two rows of A, two columns of B in
// each eight. Calls f(address, bytes) for each piece of up to 16 bytes.
template <class F>
void each_piece(const WarpgroupProducts::Product& p, F f) {
  const unsigned rank = Block::running()->self().rank;
  const int lane = static_cast<int>(rank % 32);
  const Operand b(p.b, p.b_along_n, p.site);
  const int row = static_cast<int>(rank / 32 % 4) * 16 + lane / 4;
  if (!p.a_in_registers) {
    const Operand a(p.a, false, p.site);
    for (int half = 0; half < 2; ++half)
      for (int piece = 0; piece < 2; ++piece) f(a.along_k(row + 8 * half, 16 * piece, 16), 16);
  }
  for (int n = lane % 4 * 2; n < p.columns; n += 8) {
    if (p.b_along_n) {
      for (int k = 0; k < kInner; ++k) f(b.along_n(k, n * 2, 4), 4);
    } else {
      for (int column = n; column < n + 2; ++column)
        for (int piece = 0; piece < 2; ++piece) f(b.along_k(column, 16 * piece, 16), 16);
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
  if (p.a_in_registers) {
    i = 4;
    for (int half = 0; half < 2; ++half)
      for (int k = 0; k < kInner; ++k)
        a[half][k] = number(reinterpret_cast<const unsigned char*>(&p.rows[half][k]));
  }
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

uint32_t emulate_shared_address(const void* shared, const char* file, int line) {
  if (reinterpret_cast<uintptr_t>(shared) % 16 != 0) misaligned(shared, 16, file, line);
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
                                               .a_in_registers = false,
                                               .rows = {},
                                               .operands = 0,
                                               .site = {file, line, __builtin_return_address(0)},
                                               .group = 0};
  product.operands = emulator::sum_of_operands(product);
  Block::running()->self().products.start(product);
}

void emulate_warpgroup_mma(float* d, int columns, const uint32_t (&a)[4], uint64_t b,
                           bool b_along_n, const char* file, int line) {
  emulator::WarpgroupProducts::Product product{.d = d,
                                               .a = 0,
                                               .b = b,
                                               .columns = columns,
                                               .b_along_n = b_along_n,
                                               .a_in_registers = true,
                                               .rows = {},
                                               .operands = 0,
                                               .site = {file, line, __builtin_return_address(0)},
                                               .group = 0};
  // Four lanes share the two rows; each has columns 2 t, 2 t + 1 and 2 t + 8, 2 t + 9 of both.
  const int first = static_cast<int>(Block::running()->self().rank % 32) / 4 * 4;
  for (int t = 0; t < 4; ++t) {
    uint32_t theirs[4];
    emulator::WarpOperation operation{.kind = emulator::WarpOperation::Kind::shuffle,
                                      .in = a,
                                      .out = theirs,
                                      .argument = first + t,
                                      .bytes = sizeof(theirs),
                                      .site = product.site};
    Block::running()->warp_operation(operation, 0xffffffffu);
    for (int i = 0; i < 4; ++i)
      std::memcpy(&product.rows[i % 2][2 * t + i / 2 * 8], &theirs[i], sizeof(theirs[i]));
  }
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
