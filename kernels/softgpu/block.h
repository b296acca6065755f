// A block that runs: its warps, its shared and local memory, and the checks of every access.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/softgpu/bulk_copy.h"
#include "kernels/softgpu/counters.h"
#include "kernels/softgpu/execute.h"
#include "kernels/softgpu/warp.h"
#include "kernels/softgpu/warpgroup.h"

namespace diffscm::softgpu {

// What all blocks of a launch have in common.
struct Launch {
  const Program& program;
  LaunchShape shape;
  std::span<const std::byte> params;
  const Memory& memory;
  const Module& module;

  uint32_t threads() const { return shape.block.x * shape.block.y * shape.block.z; }
  uint32_t warps() const { return (threads() + kLanes - 1) / kLanes; }
  uint32_t shared_bytes() const { return program.static_shared_bytes + shape.dynamic_shared_bytes; }
};

// Asynchronous copies that the lanes of a warp issued with one cp.async. They are carried out when
// they are waited for, no sooner: whoever reads their target before sees NaN.
struct AsyncCopies {
  uint32_t lanes = 0;  // whose copy is still to be done
  uint32_t bytes = 0, instruction = 0;
  std::array<uint32_t, kLanes> group{}, target{}, source_bytes{};
  std::array<uint64_t, kLanes> source{};
};

struct WarpCopies {
  std::vector<AsyncCopies> pending;
  std::array<uint32_t, kLanes> committed{};  // groups, per lane
};

// One per host thread; runs one block after the other.
class Block {
 public:
  // `counters`: per instruction of the program; empty: nothing is counted. `traffic`: where its
  // global accesses are noted then.
  Block(const Launch& launch, std::span<InstructionCounters> counters, Traffic* traffic);

  void run(Extent block_index);

  const Launch& launch;
  Extent index;
  std::span<InstructionCounters> counters;
  Traffic* traffic;
  Warpgroups warpgroups;
  BulkCopies bulk_copies{*this};

  // Check the addresses of the warp's active lanes, each for `bytes` aligned to `bytes`, and count
  // the access. `low` and `high` are the least and the greatest, `bits` all of them ORed. Throw
  // Error for the first lane that may not.
  void check_global(const Warp& w, const uint64_t* addresses, uint64_t low, uint64_t high,
                    uint64_t bits, uint32_t bytes) {
    const Window& last = windows_[w.instruction()];
    if (low < last.begin || high + bytes > last.end || (bits & (bytes - 1)) != 0) [[unlikely]]
      check_each_global(w, addresses, bytes);
    if ((w.active & ~w.followed) != 0) [[unlikely]]
      check_followed(w, addresses);
    if (!counters.empty()) count_global(w, addresses, bytes);
  }
  void check_shared(const Warp& w, const uint32_t* addresses, uint32_t high, uint32_t bits,
                    uint32_t bytes) {
    if (uint64_t{high} + bytes > shared_bytes_ || (bits & (bytes - 1)) != 0) [[unlikely]]
      check_each_shared(w, addresses, bytes);
    if (warpgroups.in_use()) note_shared(w, addresses, bytes);
    if (!counters.empty()) count_shared(w, addresses, bytes);
  }
  // The same for a copy of one lane, of which addresses and size are multiples of 16.
  void check_bulk_copy(const Warp& w, int lane, const BulkCopy& copy);
  // `bytes` at an address of a lane's local memory, or of the kernel's parameters.
  std::byte* local(const Warp& w, int lane, uint64_t address, uint32_t bytes);
  std::byte* param(const Warp& w, int lane, uint64_t address, uint32_t bytes);
  // Where a lane's local memory begins.
  std::byte* local(const Warp& w, int lane) {
    return local_.data() + (size_t{w.number} * kLanes + lane) * launch.program.local_bytes;
  }
  std::byte* shared() { return reinterpret_cast<std::byte*>(shared_.data()); }
  uint32_t shared_bytes() const { return shared_bytes_; }
  WarpCopies& copies(const Warp& w) { return copies_[w.number]; }

  // The warp's active lanes arrive at a barrier for `threads` threads (0: all that have not
  // exited) and wait.
  void arrive(Warp& w, uint32_t barrier, uint32_t threads);
  // A phase of the mbarrier at that address is over: who waits for it goes on.
  void open_copies(uint32_t barrier);

 private:
  struct Window {
    uint64_t begin = 1, end = 0;
  };
  struct Barrier {
    uint32_t arrived = 0;
    uint32_t threads = 0;  // that it is for; 0: all that have not exited
  };

  void start(Extent block_index);
  template <bool counted>
  void run_warp(Warp& w);
  bool open_barriers();  // those that all have reached; whether there were any
  bool find_window(uint64_t address, Window& window) const;
  void check_each_global(const Warp& w, const uint64_t* addresses, uint32_t bytes);
  void check_followed(const Warp& w, const uint64_t* addresses) const;
  [[noreturn]] void check_each_shared(const Warp& w, const uint32_t* addresses, uint32_t bytes);
  void note_shared(const Warp& w, const uint32_t* addresses, uint32_t bytes);
  void count_global(const Warp& w, const uint64_t* addresses, uint32_t bytes);
  void count_shared(const Warp& w, const uint32_t* addresses, uint32_t bytes);
  [[noreturn]] void report_deadlock() const;

  std::vector<Warp> warps_;
  std::vector<Line64> registers_, shared_;
  std::vector<std::byte> local_;
  uint32_t shared_bytes_ = 0;
  std::vector<WarpCopies> copies_;
  std::vector<Window> windows_;  // per instruction: the allocation that it accessed last
  std::array<Barrier, 16> barriers_{};
};

}  // namespace diffscm::softgpu
