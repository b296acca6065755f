// The matrix instructions of a warpgroup, four warps: wgmma.mma_async and what orders it (PTX ISA
// 9.7.15), with bf16 operands in shared memory, A also in registers, and f32 sums.
//
// Each warp is carried out on its own: it has 16 of the 64 rows of A and D, and all of B. That the
// four give the same descriptors is not checked.
#include <algorithm>
#include <cstring>

#include "kernels/softgpu/block.h"
#include "kernels/softgpu/ptx/forms.h"
#include "kernels/softgpu/ptx/lanes.h"

namespace diffscm::softgpu {
namespace {

constexpr int kInner = 16, kRows = 16, kWarps = 4;  // values of k; rows of a warp; of a group
constexpr int kMostColumns = 256;

void require_whole_warpgroup(const Warp& w, const char* name) {
  const int lane = std::countr_zero(w.active);
  if (w.active != kAllLanes)
    w.fault(lane, fmt::format("{} needs the whole warp; lanes {:#010x} are here", name, w.active));
  if ((w.number / kWarps + 1) * kWarps > w.block->launch.warps())
    w.fault(lane, fmt::format("{} needs four warps, from a multiple of four on; the block has {}",
                              name, w.block->launch.warps()));
}

// A matrix descriptor. With 128-byte swizzling: patterns of 8 rows of 128 bytes, whose 16-byte
// chunks are permuted by bits 7 to 9 of the address. Without: core matrices of 8 rows of one such
// chunk.
class Operand {
 public:
  Operand(const Warp& w, uint64_t bits, bool along_n)
      : w_(w), bits_(bits), swizzled_(bits >> 62 == 1) {
    constexpr uint64_t kField = 0x3fff, kFields = kField | kField << 16 | kField << 32;
    constexpr uint64_t kBaseOffset = uint64_t{7} << 49, kSwizzle = uint64_t{3} << 62;
    if ((bits & ~(kFields | kBaseOffset | kSwizzle)) != 0) refuse("has bits that mean nothing");
    if ((bits & kSwizzle) != 0 && !swizzled_)
      refuse("is of 32- or 64-byte swizzling, which is not supported");
    if ((bits & kBaseOffset) != 0) refuse("has a base offset, which is not supported");
    if (along_n && !swizzled_)
      refuse("is not swizzled, which is not supported for B along its columns");
  }

  // Chunk `chunk` (16 bytes) of a row along k, counted from the start on.
  uint32_t along_k(int row, int chunk) const {
    const uint32_t eight = field(0) + uint32_t(row / 8) * field(32);
    if (swizzled_) return swizzled(eight + uint32_t(row % 8) * 128 + uint32_t(chunk) * 16);
    return checked(eight + uint32_t(row % 8) * 16 + uint32_t(chunk) * field(16));
  }
  // The same of row k, which lies along n: eight chunks of it in each block of patterns.
  uint32_t along_n(int k, int chunk) const {
    return swizzled(field(0) + uint32_t(chunk / 8) * field(16) + uint32_t(k / 8) * field(32) +
                    uint32_t(k % 8) * 128 + uint32_t(chunk % 8) * 16);
  }

 private:
  uint32_t swizzled(uint32_t address) const { return checked(address ^ (address >> 7 & 7) << 4); }
  uint32_t checked(uint32_t address) const {
    if (address + 16 > w_.block->shared_bytes())
      w_.fault(0, fmt::format("the operand with descriptor {:#x} reads byte {} of {} bytes of "
                              "shared memory",
                              bits_, address + 15, w_.block->shared_bytes()));
    return address;
  }
  uint32_t field(int bit) const { return (bits_ >> bit & 0x3fff) << 4; }
  [[noreturn]] void refuse(const char* what) const {
    w_.fault(0, fmt::format("matrix descriptor {:#x} {}", bits_, what));
  }
  const Warp& w_;
  uint64_t bits_;
  bool swizzled_;
};

// Calls a(row, half, address) for the two chunks of each of the warp's rows of A if it lies in
// shared memory, and of B b(column, half, address), or with B along n b(k, column / 8, address).
template <class A, class B>
void each_chunk(const Warp& w, const WarpgroupProduct& p, A a, B b) {
  const Operand second(w, p.b, p.b_along_n);
  if (!p.a_in_registers) {
    const Operand first(w, p.a, false);
    const int row = static_cast<int>(w.number % kWarps) * kRows;
    for (int r = 0; r < kRows; ++r)
      for (int half = 0; half < 2; ++half) a(r, half, first.along_k(row + r, half));
  }
  if (p.b_along_n) {
    for (int k = 0; k < kInner; ++k)
      for (int n = 0; n < p.columns / 8; ++n) b(k, n, second.along_n(k, n));
  } else {
    for (int n = 0; n < p.columns; ++n)
      for (int half = 0; half < 2; ++half) b(n, half, second.along_k(n, half));
  }
}

// A sum over the operands' bytes. `starting`: also that wgmma sees them.
template <bool starting>
uint64_t sum_of_operands(const Warp& w, const WarpgroupProduct& p) {
  uint64_t sum = 0;
  const auto add = [&](int, int, uint32_t address) {
    if constexpr (starting) {
      const int writer = w.block->warpgroups.unfenced_writer(address);
      if (writer >= 0)
        w.fault(0, fmt::format("byte {} of shared memory was written by warp {}, which did not "
                               "call fence.proxy.async since: wgmma may not see it",
                               address, writer));
    }
    uint64_t words[2];
    std::memcpy(words, w.block->shared() + address, 16);
    for (const uint64_t word : words) sum = (sum ^ word) * 0x100000001b3;  // as FNV-1 does
  };
  each_chunk(w, p, add, add);
  return sum;
}

// The sums under way that those registers are to hold, or the end.
auto find_sums(WarpProducts& all, const Slot* d, int columns) {
  return std::find_if(all.sums.begin(), all.sums.end(), [&](const WarpgroupSums& s) {
    return s.values.size() == size_t(columns / 2 * kLanes) && std::equal(d, d + columns / 2, s.d);
  });
}

// wgmma.mma_async d, a, b, scale-d, scale-a, scale-b, transpose-a, transpose-b. With A in registers
// it has no transpose-a.
template <int columns, bool b_along_n, bool a_in_registers>
void start_product(Warp& w, const Instruction& i) {
  constexpr int kB = a_in_registers ? 0 : 1;
  require_whole_warpgroup(w, "wgmma.mma_async");
  WarpProducts& all = w.block->warpgroups.of(w.number);
  const Slot* const d = w.vector(i);
  WarpgroupProduct p{.d = d,
                     .a = a_in_registers ? 0 : w.at<uint64_t>(i.operand[0])[0],
                     .b = w.at<uint64_t>(i.operand[kB])[0],
                     .columns = columns,
                     .b_along_n = b_along_n,
                     .a_in_registers = a_in_registers,
                     .fragment = {},
                     .operands = 0,
                     .group = all.committed,
                     .instruction = w.instruction()};
  if (w.predicate(i.operand[kB + 1]) != kAllLanes)
    w.fault(0, "a product that is not added (scale-d 0) is not supported");
  if constexpr (a_in_registers)
    for (size_t k = 0; k < p.fragment.size(); ++k)
      std::memcpy(p.fragment[k].data(), w.at<uint32_t>(d[columns / 2 + k]), sizeof(p.fragment[k]));
  p.operands = sum_of_operands<true>(w, p);
  // Products of one shape may follow each other on the same sums without a fence.
  auto sums = find_sums(all, d, columns);
  if (sums == all.sums.end()) {
    if (!all.fenced) w.fault(0, "no wgmma.fence since the sums were last touched");
    all.sums.push_back({d, 0, std::vector<float>(columns / 2 * kLanes)});
    sums = all.sums.end() - 1;
    for (int k = 0; k < columns / 2; ++k) {
      std::memcpy(&sums->values[k * kLanes], w.at<float>(d[k]), kLanes * sizeof(float));
      std::memset(w.at<float>(d[k]), 0xff, kLanes * sizeof(float));
    }
  }
  ++sums->products;
  all.pending.push_back(p);
  if (w.block->counters.empty()) return;
  InstructionCounters& c = w.block->counters[w.instruction()];
  // The four warps share what is read of B; neither layout leaves conflicts. Half a wavefront is
  // counted by the next warp.
  const uint64_t bytes = (a_in_registers ? 0 : kRows * kInner * 2) + columns * kInner * 2 / kWarps;
  const uint64_t before = w.number % kWarps * bytes / 128;
  const uint64_t wavefronts = (w.number % kWarps + 1) * bytes / 128 - before;
  c.bytes += bytes;
  c.wavefronts += wavefronts;
  c.ideal_wavefronts += wavefronts;
}

// The first product under way. Sums are formed in the order of k, as those of mma.sync
// (forms_matrix.cpp). D's registers 4 j to 4 j + 3 are those of an mma for columns 8 j to 8 j + 7.
struct Multiply {
  DIFFSCM_LANES_INLINE static void leaf(Warp& w, const Instruction&) {
    WarpProducts& all = w.block->warpgroups.of(w.number);
    const WarpgroupProduct& p = all.pending.front();
    float* const values = find_sums(all, p.d, p.columns)->values.data();
    const auto value = [&](int row, int n) -> float& {
      return values[(n / 8 * 4 + row / 8 * 2 + n % 2) * kLanes + row % 8 * 4 + n % 8 / 2];
    };
    float a[kRows][kInner];
    alignas(64) float b[kInner][kMostColumns];
    const auto number = [](uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); };
    uint16_t chunk[8];
    // Registers 0 and 2 hold rows 0 to 7, 1 and 3 the others; 2 and 3 the second half of k.
    if (p.a_in_registers)
      for (int k = 0; k < 4; ++k)
        for (int l = 0; l < kLanes; ++l)
          for (int i = 0; i < 2; ++i)
            a[l / 4 + k % 2 * 8][l % 4 * 2 + k / 2 * 8 + i] =
                number(static_cast<uint16_t>(p.fragment[size_t(k)][size_t(l)] >> 16 * i));
    each_chunk(
        w, p,
        [&](int row, int half, uint32_t address) {
          std::memcpy(chunk, w.block->shared() + address, 16);
          for (int k = 0; k < 8; ++k) a[row][8 * half + k] = number(chunk[k]);
        },
        [&](int row, int piece, uint32_t address) {
          std::memcpy(chunk, w.block->shared() + address, 16);
          for (int k = 0; k < 8; ++k)
            (p.b_along_n ? b[row][8 * piece + k] : b[8 * piece + k][row]) = number(chunk[k]);
        });
    for (int row = 0; row < kRows; ++row) {
      alignas(64) float sum[kMostColumns];
      for (int n = 0; n < p.columns; ++n) sum[n] = value(row, n);
      for (int k = 0; k < kInner; ++k) {
        const float factor = a[row][k];
        for (int n = 0; n < p.columns; ++n) sum[n] += factor * b[k][n];
      }
      for (int n = 0; n < p.columns; ++n) value(row, n) = sum[n];
    }
  }
};

// wgmma.wait_group: all but so many groups are done, and their sums back in the registers if no
// later product needs them.
void wait_group(Warp& w, const Instruction& i) {
  require_whole_warpgroup(w, "wgmma.wait_group");
  static const Handler multiply = Cloned<Multiply::leaf>::chosen();
  WarpProducts& all = w.block->warpgroups.of(w.number);
  while (!all.pending.empty() &&
         all.committed - all.pending.front().group > uint32_t(i.immediate)) {
    const WarpgroupProduct p = all.pending.front();
    const std::string where = w.block->launch.program.where(p.instruction);
    if (sum_of_operands<false>(w, p) != p.operands)
      w.fault(0, fmt::format("the operands of the product that was started at {} have changed "
                             "since: they were not there yet, or were overwritten too early",
                             where));
    multiply(w, i);
    all.pending.erase(all.pending.begin());
    const auto sums = find_sums(all, p.d, p.columns);
    if (--sums->products > 0) continue;
    for (int k = 0; k < p.columns / 2; ++k) {
      auto* to = w.at<uint32_t>(p.d[k]);
      for (int l = 0; l < kLanes; ++l)
        if (to[l] != ~0u)
          w.fault(l, fmt::format("a sum of the product that was started at {} was written while "
                                 "it was under way",
                                 where));
      std::memcpy(to, &sums->values[k * kLanes], kLanes * sizeof(float));
    }
    all.sums.erase(sums);
    all.fenced = false;
  }
}

void commit_group(Warp& w, const Instruction&) {
  require_whole_warpgroup(w, "wgmma.commit_group");
  ++w.block->warpgroups.of(w.number).committed;
}
void fence(Warp& w, const Instruction&) {
  require_whole_warpgroup(w, "wgmma.fence");
  w.block->warpgroups.of(w.number).fenced = true;
}
void proxy_fence(Warp& w, const Instruction&) {
  w.block->warpgroups.fence(w.number);
  w.block->bulk_copies.fence(w);
}

template <int columns>
void add_product(Forms& f) {
  const std::string opcode =
      fmt::format("wgmma.mma_async.sync.aligned.m64n{}k16.f32.bf16.bf16", columns);
  const std::string sums = fmt::format("+v{}x4 = ", columns / 2);
  const std::string shared = sums + "8 8 p #1 #1 #0 #", registers = sums + "v4x4 8 p #1 #1 #";
  const auto kind = InstructionClass::warpgroup;
  f.add(opcode, {start_product<columns, false, false>, kind, shared + "0"});
  f.add(opcode, {start_product<columns, true, false>, kind, shared + "1"});
  f.add(opcode, {start_product<columns, false, true>, kind, registers + "0"});
  f.add(opcode, {start_product<columns, true, true>, kind, registers + "1"});
}

}  // namespace

void add_warpgroup_forms(Forms& f) {
  const auto kind = InstructionClass::control;
  f.add("wgmma.fence.sync.aligned", {fence, kind, ""});
  f.add("wgmma.commit_group.sync.aligned", {commit_group, kind, ""});
  f.add("wgmma.wait_group.sync.aligned", {wait_group, InstructionClass::barrier, "= #"});
  f.add("fence.proxy.async.shared::cta", {proxy_fence, kind, ""});
  f.add("fence.proxy.async", {proxy_fence, kind, ""});
  add_product<8>(f);
  add_product<16>(f);
  add_product<32>(f);
  add_product<64>(f);
  add_product<96>(f);
  add_product<128>(f);
  add_product<192>(f);
  add_product<256>(f);
}

}  // namespace diffscm::softgpu
