// What the lanes of a warp do together: shfl.sync, bar.warp.sync, bar.sync, votes (PTX ISA 9.7.9.6,
// 9.7.13). An operation with a mask of lanes waits until all of them that have not exited are here.
#include "kernels/softgpu/block.h"
#include "kernels/softgpu/ptx/forms.h"
#include "kernels/softgpu/ptx/lanes.h"

namespace diffscm::softgpu {
namespace {

// What a lane reads from one that does not take part is not defined: a pattern that is NaN.
constexpr uint32_t kUndefined = 0xffffdead;

// The mask of the executing lanes, who must agree on it. A lane outside its own mask is an error.
uint32_t member_mask(const Warp& w, Slot slot) {
  const auto* masks = w.at<uint32_t>(slot);
  const uint32_t mask = masks[std::countr_zero(w.active)];
  each_lane(w.active, [&](int l) {
    if (masks[l] != mask)
      w.fault(l, fmt::format("lanes give different masks: {:#x} and {:#x}", masks[l], mask));
    if (!(mask >> l & 1)) w.fault(l, fmt::format("the lane is not in its own mask {:#x}", mask));
  });
  return mask;
}

enum class Mode { up, down, butterfly, index };

// d{|p} = lane j's a, where j follows from b and the segment that c gives: PTX ISA 9.7.9.6.
template <Mode mode, bool predicate>
void shuffle(Warp& w, const Instruction& i) {
  const Slot* s = &i.operand[predicate ? 2 : 1];
  if (!w.gather(member_mask(w, s[3]))) return;
  const auto* a = w.at<uint32_t>(s[0]);
  uint32_t result[kLanes], in_range = 0;
  each_lane(w.active, [&](int l) {
    const uint32_t lane = uint32_t(l), b = w.at<uint32_t>(s[1])[l] & 31,
                   c = w.at<uint32_t>(s[2])[l];
    const uint32_t clamp = c & 31, segment = c >> 8 & 31;
    const uint32_t last = (lane & segment) | (clamp & ~segment), first = lane & segment;
    uint32_t j = lane;
    bool valid = true;
    switch (mode) {
      case Mode::up:
        j = lane - b, valid = int32_t(j) >= int32_t(last);
        break;
      case Mode::down:
        j = lane + b, valid = j <= last;
        break;
      case Mode::butterfly:
        j = lane ^ b, valid = j <= last;
        break;
      case Mode::index:
        j = first | (b & ~segment), valid = j <= last;
        break;
    }
    if (!valid) j = lane;
    result[l] = w.active >> j & 1 ? a[j] : kUndefined;
    if (valid) in_range |= 1u << l;
  });
  each_lane(w.active, [&](int l) { w.at<uint32_t>(i.operand[0])[l] = result[l]; });
  if (predicate) {
    uint32_t& p = w.predicate(i.operand[1]);
    p = (p & ~w.active) | (in_range & w.active);
  }
}

void warp_barrier(Warp& w, const Instruction& i) {
  w.gather(member_mask(w, i.operand[0]));
}

enum class Vote { any, all, ballot };
template <Vote vote>
void vote_sync(Warp& w, const Instruction& i) {
  if (!w.gather(member_mask(w, i.operand[2]))) return;
  const uint32_t yes = w.predicate(i.operand[1]) & w.active;
  if (vote == Vote::ballot) {
    each_lane(w.active, [&](int l) { w.at<uint32_t>(i.operand[0])[l] = yes; });
  } else {
    const bool holds = vote == Vote::any ? yes != 0 : yes == w.active;
    uint32_t& p = w.predicate(i.operand[0]);
    p = (p & ~w.active) | (holds ? w.active : 0);
  }
}

// bar.sync barrier{, threads}: of the whole block, without a count.
template <bool counted>
void barrier(Warp& w, const Instruction& i) {
  const int lane = std::countr_zero(w.active);
  const uint32_t number = w.at<uint32_t>(i.operand[0])[lane];
  const uint32_t threads = counted ? w.at<uint32_t>(i.operand[1])[lane] : 0;
  if (number >= 16) w.fault(lane, fmt::format("barrier {}: there are 16", number));
  if (threads % kLanes != 0)
    w.fault(lane, fmt::format("a barrier for {} threads: whole warps are needed", threads));
  w.block->arrive(w, number, threads);
}

}  // namespace

void add_collective_forms(Forms& f) {
  const auto kind = InstructionClass::shuffle;
  const auto add = [&](const std::string& mode, Handler plain, Handler with_predicate) {
    f.add("shfl.sync." + mode + ".b32", {plain, kind, "4 = 4 4 4 4"});
    f.add("shfl.sync." + mode + ".b32", {with_predicate, kind, "4 p = 4 4 4 4"});
  };
  add("up", shuffle<Mode::up, false>, shuffle<Mode::up, true>);
  add("down", shuffle<Mode::down, false>, shuffle<Mode::down, true>);
  add("bfly", shuffle<Mode::butterfly, false>, shuffle<Mode::butterfly, true>);
  add("idx", shuffle<Mode::index, false>, shuffle<Mode::index, true>);
  f.add("vote.sync.any.pred", {vote_sync<Vote::any>, kind, "p = p 4"});
  f.add("vote.sync.all.pred", {vote_sync<Vote::all>, kind, "p = p 4"});
  f.add("vote.sync.ballot.b32", {vote_sync<Vote::ballot>, kind, "4 = p 4"});
  f.add("bar.warp.sync", {warp_barrier, InstructionClass::barrier, "= 4"});
  for (const std::string opcode : {"bar.sync", "barrier.sync", "barrier.sync.aligned"}) {
    f.add(opcode, {barrier<false>, InstructionClass::barrier, "= 4"});
    f.add(opcode, {barrier<true>, InstructionClass::barrier, "= 4 4"});
  }
}

}  // namespace diffscm::softgpu
