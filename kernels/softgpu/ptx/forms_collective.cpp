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
  if (slot < 0 && (w.active & ~mask) == 0) return mask;  // a constant
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
struct Shuffle {
  DIFFSCM_LANES_INLINE static void leaf(Warp& w, const Instruction& i) {
    const Slot* s = &i.operand[predicate ? 2 : 1];
    if (!w.gather(member_mask(w, s[3]))) return;
    const auto *a = w.at<uint32_t>(s[0]), *b = w.at<uint32_t>(s[1]), *c = w.at<uint32_t>(s[2]);
    const uint32_t active = w.active;
    uint32_t result[kLanes], in_range = 0;
    for (uint32_t l = 0; l < kLanes; ++l) {
      const uint32_t distance = b[l] & 31, clamp = c[l] & 31, segment = c[l] >> 8 & 31;
      const uint32_t first = l & segment, last = first | (clamp & ~segment);
      uint32_t j = l - distance;  // up
      if (mode == Mode::down) j = l + distance;
      if (mode == Mode::butterfly) j = l ^ distance;
      if (mode == Mode::index) j = first | (distance & ~segment);
      const bool valid = mode == Mode::up ? int32_t(j) >= int32_t(last) : j <= last;
      j = valid ? j : l;
      result[l] = active >> j & 1 ? a[j] : kUndefined;
      in_range |= uint32_t(valid) << l;
    }
    auto* d = w.at<uint32_t>(i.operand[0]);
    for (int l = 0; l < kLanes; ++l) d[l] = active >> l & 1 ? result[l] : d[l];
    if (predicate) {
      uint32_t& p = w.predicate(i.operand[1]);
      p = (p & ~active) | (in_range & active);
    }
  }
};

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
  add("up", Cloned<Shuffle<Mode::up, false>::leaf>::chosen(),
      Cloned<Shuffle<Mode::up, true>::leaf>::chosen());
  add("down", Cloned<Shuffle<Mode::down, false>::leaf>::chosen(),
      Cloned<Shuffle<Mode::down, true>::leaf>::chosen());
  add("bfly", Cloned<Shuffle<Mode::butterfly, false>::leaf>::chosen(),
      Cloned<Shuffle<Mode::butterfly, true>::leaf>::chosen());
  add("idx", Cloned<Shuffle<Mode::index, false>::leaf>::chosen(),
      Cloned<Shuffle<Mode::index, true>::leaf>::chosen());
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
