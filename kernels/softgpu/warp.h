// A warp: the registers of 32 lanes, and where each lane stands.
//
// Lanes that go the same way form a split and execute together, an instruction for all of them at
// once. A branch that not all lanes take divides the split. The parts meet again at the branch's
// immediate post-dominator, the first instruction that every path from the branch passes, as they
// do on the machine (BSSY and BSYNC): a part that arrives waits there for the others. A split that
// waits for something else, a barrier or lanes of a shuffle's mask, does not hold the other splits
// of its warp up (independent thread scheduling, sm_70 on).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "kernels/softgpu/ptx/program.h"

namespace diffscm::softgpu {

class Block;
inline constexpr int kLanes = 32;
inline constexpr uint32_t kAllLanes = ~0u;

// Lanes at one instruction.
struct Split {
  enum class State : uint8_t { ready, at_barrier, at_warp_barrier, at_copies };
  static constexpr int kDeepest = 8;  // calls

  uint32_t pc = 0, lanes = 0;
  int join = -1;  // the innermost place where others wait for them, in Warp's joins
  State state = State::ready;
  uint8_t barrier = 0;  // at_barrier
  uint8_t depth = 0;    // of calls
  std::array<uint32_t, kDeepest> returns{};
  uint32_t wanted = 0;  // at_warp_barrier: the lanes that it waits for
  uint32_t copies = 0;  // at_copies: the mbarrier's address
};

// Where the parts of a divided split meet again.
struct Join {
  uint32_t pc = 0;
  uint32_t expected = 0;  // lanes; 0: not in use
  uint32_t arrived = 0;
  int parent = -1;
  Split waiting;  // of those that arrived
};

class Warp {
 public:
  // What an instruction works on. `active`: the lanes that carry it out, those of the running
  // split whose guard holds.
  uint32_t active = 0;
  Split running;
  std::byte* registers = nullptr;
  const std::byte* constants = nullptr;  // their end
  const Slot* slots = nullptr;           // of the program
  uint32_t carry = 0;                    // the condition code register, bit per lane
  Block* block = nullptr;
  uint32_t number = 0;    // in its block
  uint32_t existing = 0;  // lanes; the last warp of a block may have fewer than 32
  uint32_t exited = 0;
  uint32_t followed = kAllLanes;  // that have waited for the kernel before, or need not

  template <class T>
  T* at(Slot slot) const {
    return reinterpret_cast<T*>(const_cast<std::byte*>(slot < 0 ? constants : registers) + slot);
  }
  uint32_t& predicate(Slot slot) const { return *at<uint32_t>(slot); }
  // The slots of a vector operand.
  const Slot* vector(const Instruction& i) const { return slots + i.extra; }

  // All lanes that exist stand at the first instruction.
  void start(uint32_t lanes);

  // --- what instructions do to the running split; its pc is behind the instruction
  void branch(const Instruction& i);
  void call(const Instruction& i);
  void return_();
  void exit();
  void converge();
  // It waits for a barrier of its block.
  void wait_at(uint32_t barrier);
  // It waits for the present phase of the mbarrier at that address.
  void wait_for_copies(uint32_t barrier);
  // Whether all lanes of `wanted` that have not exited are at this instruction. If so, `active`
  // are all of them; otherwise those that came wait for the rest, who will find them here.
  bool gather(uint32_t wanted);

  // Takes a ready split as the running one; false if there is none.
  bool resume();
  bool runs() const { return runs_; }
  bool finished() const { return exited == existing; }
  void open_barrier(uint32_t barrier);
  void open_copies(uint32_t barrier);
  const std::vector<Split>& splits() const { return splits_; }  // that do not run
  const std::vector<Join>& joins() const { return joins_; }

  // Of the instruction that is carried out.
  uint32_t instruction() const { return running.pc - 1; }
  // Throws Error: kernel, source line, block and thread, then the message.
  [[noreturn]] void fault(int lane, const std::string& message) const;

 private:
  bool complete(int join, Split* merged);

  void detach(uint32_t lanes);

  bool runs_ = false;
  std::vector<Split> splits_;  // all but the running one
  std::vector<Join> joins_;
};

}  // namespace diffscm::softgpu
