// cp.async: copies from global to shared memory that pass the registers by (PTX ISA 9.7.9.25.3).
//
// On the machine such a copy is done at some time between its issue and the wait for its group.
// Here it is done at the last moment, in the wait, and its target is NaN until then: code that
// reads too early cannot work by luck.
#include <cstring>

#include "kernels/softgpu/block.h"
#include "kernels/softgpu/ptx/forms.h"
#include "kernels/softgpu/ptx/lanes.h"

namespace diffscm::softgpu {
namespace {

// cp.async [shared], [global], bytes{, source_bytes}: what the source does not fill is 0.
template <uint32_t bytes, bool part>
void issue(Warp& w, const Instruction& i) {
  AsyncCopies copies{.lanes = w.active, .bytes = bytes, .instruction = w.instruction()};
  const auto& committed = w.block->copies(w).committed;
  const int64_t offset = w.vector(i)[0];  // of the global address; `immediate` is the shared one's
  uint32_t shared_high = 0, shared_bits = 0;
  uint64_t low = ~uint64_t{0}, high = 0, bits = 0;
  uint32_t reading = 0;  // a lane that reads nothing may give any address
  each_lane(w.active, [&](int l) {
    copies.group[l] = committed[l];
    copies.target[l] = w.at<uint32_t>(i.operand[0])[l] + uint32_t(i.immediate);
    copies.source[l] = w.at<uint64_t>(i.operand[1])[l] + uint64_t(offset);
    copies.source_bytes[l] = part ? w.at<uint32_t>(i.operand[2])[l] : bytes;
    if (copies.source_bytes[l] > bytes)
      w.fault(l, fmt::format("cp.async of {} bytes from a source of {}", bytes,
                             copies.source_bytes[l]));
    shared_high = std::max(shared_high, copies.target[l]), shared_bits |= copies.target[l];
    if (copies.source_bytes[l] == 0) return;
    reading |= 1u << l;
    low = std::min(low, copies.source[l]), high = std::max(high, copies.source[l]);
    bits |= copies.source[l];
  });
  w.block->check_shared(w, copies.target.data(), shared_high, shared_bits, bytes);
  if (reading != 0) {
    const uint32_t all = std::exchange(w.active, reading);
    w.block->check_global(w, copies.source.data(), low, high, bits, bytes);
    w.active = all;
  }
  each_lane(w.active,
            [&](int l) { std::memset(w.block->shared() + copies.target[l], 0xff, bytes); });
  w.block->copies(w).pending.push_back(copies);
}

void carry_out(Warp& w, AsyncCopies& copies, uint32_t lanes) {
  each_lane(lanes, [&](int l) {
    std::byte* target = w.block->shared() + copies.target[l];
    const uint32_t n = copies.source_bytes[l];
    std::memset(target + n, 0, copies.bytes - n);
    if (n > 0) std::memcpy(target, reinterpret_cast<const void*>(copies.source[l]), n);
    w.block->warpgroups.wrote(w.number, copies.target[l], copies.bytes);
  });
  copies.lanes &= ~lanes;
}

// Carries the active lanes' copies out, but for those of each lane's last `remaining` groups.
// `uncommitted`: also those that no group holds yet.
void complete(Warp& w, uint32_t remaining, bool uncommitted) {
  WarpCopies& all = w.block->copies(w);
  for (AsyncCopies& copies : all.pending) {
    uint32_t due = 0;
    each_lane(copies.lanes & w.active, [&](int l) {
      const uint32_t groups_after = all.committed[l] - copies.group[l];  // 0: not committed
      if (groups_after > remaining || (uncommitted && groups_after == 0)) due |= 1u << l;
    });
    carry_out(w, copies, due);
  }
  std::erase_if(all.pending, [](const AsyncCopies& c) { return c.lanes == 0; });
}

void commit_group(Warp& w, const Instruction&) {
  each_lane(w.active, [&](int l) { ++w.block->copies(w).committed[l]; });
}
void wait_group(Warp& w, const Instruction& i) {
  complete(w, uint32_t(i.immediate), false);
}
void wait_all(Warp& w, const Instruction&) {
  complete(w, 0, true);
}

template <uint32_t bytes>
void add_size(Forms& f, const std::string& opcode, InstructionClass kind) {
  const std::string n = std::to_string(bytes);
  f.add(opcode, {issue<bytes, false>, kind, "= s a #" + n});
  f.add(opcode, {issue<bytes, true>, kind, "= s a #" + n + " 4"});
}

}  // namespace

void add_async_copy_forms(Forms& f) {
  const auto kind = InstructionClass::async_copy;
  for (const std::string hint : {"", ".L2::128B", ".L2::256B"}) {
    add_size<16>(f, "cp.async.cg.shared.global" + hint, kind);
    const std::string cached = "cp.async.ca.shared.global" + hint;
    add_size<16>(f, cached, InstructionClass::async_copy_cached);
    add_size<8>(f, cached, InstructionClass::async_copy_cached);
    add_size<4>(f, cached, InstructionClass::async_copy_cached);
  }
  f.add("cp.async.commit_group", {commit_group, kind, ""});
  f.add("cp.async.wait_group", {wait_group, kind, "= #"});
  f.add("cp.async.wait_all", {wait_all, kind, ""});
}

}  // namespace diffscm::softgpu
