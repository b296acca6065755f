// The mbarriers of a block and its bulk copies under way (PTX ISA, "mbarrier", "cp.async.bulk").
//
// On the machine a copy is done at some time after its issue. Here it is done at the last moment:
// when no warp of the block can go on without it. Its target is NaN until then.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace diffscm::softgpu {

class Block;
class Warp;

struct CopyBarrier {
  uint32_t address = 0;
  uint32_t arrivals = 0, missing_arrivals = 0;  // of a phase; still to come in the present one
  int64_t missing_bytes = 0;                    // below 0: more have come than were expected
  uint32_t phase = 0;                           // its parity
  bool awaited = false;                         // by a warp
  uint32_t initialised_by = 0;                  // a warp
  bool fenced = false;                          // by that warp, since
};

struct BulkCopy {
  uint32_t target = 0, bytes = 0, barrier = 0;
  uint64_t source = 0;
  uint32_t instruction = 0;
};

// What the instructions do for one lane. They throw Error for what it may not.
class BulkCopies {
 public:
  explicit BulkCopies(Block& block) : block_(block) {}

  void clear();
  void initialise(const Warp& w, int lane, uint32_t address, uint32_t arrivals);
  void fence(const Warp& w);  // of the barriers that it has initialised
  void expect(const Warp& w, int lane, uint32_t address, uint32_t bytes);
  // Its source and target have been checked.
  void start(const Warp& w, int lane, const BulkCopy& copy);
  // Whether the phase of that parity is over. If not, the warp is to wait for the present one.
  bool complete(const Warp& w, int lane, uint32_t address, uint32_t parity);

  // Carries out the copies for one barrier that a warp waits for; whether there are any.
  bool carry_out();
  // Throws Error for a copy that is under way when the block has ended.
  void require_waited_for() const;
  // What the barriers lack that warps wait for: "; the mbarrier at 64 lacks ...".
  std::string lacking() const;

 private:
  CopyBarrier& at(const Warp& w, int lane, uint32_t address);
  void finish_phase(CopyBarrier& barrier);
  [[noreturn]] void fail(const std::string& what) const;

  Block& block_;
  std::vector<CopyBarrier> barriers_;
  std::vector<BulkCopy> copies_;
};

}  // namespace diffscm::softgpu
