// cp.async.bulk from global to shared memory, and the mbarriers that complete it (PTX
// ISA 9.7.9.25.4, 9.7.13.15). The block keeps them (bulk_copy.h).
#include "kernels/softgpu/block.h"
#include "kernels/softgpu/ptx/forms.h"
#include "kernels/softgpu/ptx/lanes.h"

namespace diffscm::softgpu {
namespace {

// The mbarriers' addresses, checked.
std::array<uint32_t, kLanes> barriers(const Warp& w, Slot base, int64_t offset) {
  std::array<uint32_t, kLanes> addresses{};
  uint32_t high = 0, bits = 0;
  each_lane(w.active, [&](int l) {
    addresses[l] = w.at<uint32_t>(base)[l] + uint32_t(offset);
    high = std::max(high, addresses[l]), bits |= addresses[l];
  });
  w.block->check_shared(w, addresses.data(), high, bits, 8);
  return addresses;
}

// mbarrier.init [barrier], arrivals.
void initialise(Warp& w, const Instruction& i) {
  const auto addresses = barriers(w, i.operand[0], i.immediate);
  each_lane(w.active, [&](int l) {
    w.block->bulk_copies.initialise(w, l, addresses[l], w.at<uint32_t>(i.operand[1])[l]);
  });
}

void fence(Warp& w, const Instruction&) {
  w.block->bulk_copies.fence(w);
}

// mbarrier.arrive.expect_tx state, [barrier], bytes. The state is the hardware's own: NaN here.
void expect(Warp& w, const Instruction& i) {
  const auto addresses = barriers(w, i.operand[1], i.immediate);
  each_lane(w.active, [&](int l) {
    w.block->bulk_copies.expect(w, l, addresses[l], w.at<uint32_t>(i.operand[2])[l]);
    w.at<uint64_t>(i.operand[0])[l] = ~uint64_t{0};
  });
}

// mbarrier.try_wait.parity done, [barrier], parity. It comes back when the phase is over, and never
// because time is.
void wait(Warp& w, const Instruction& i) {
  const auto addresses = barriers(w, i.operand[1], i.immediate);
  const int first = std::countr_zero(w.active);
  bool complete = true;
  each_lane(w.active, [&](int l) {
    const bool of_lane =
        w.block->bulk_copies.complete(w, l, addresses[l], w.at<uint32_t>(i.operand[2])[l]);
    if (l == first) complete = of_lane;
    if (addresses[l] != addresses[first] || of_lane != complete)
      w.fault(l, "lanes wait for different phases at once, which is not supported");
  });
  w.predicate(i.operand[0]) |= w.active;
  if (!complete) w.wait_for_copies(addresses[first]);
}

// cp.async.bulk [shared], [global], bytes, [barrier].
void copy(Warp& w, const Instruction& i) {
  const Slot* const offsets = w.vector(i);  // of the second and third address
  each_lane(w.active, [&](int l) {
    const BulkCopy copy{.target = w.at<uint32_t>(i.operand[0])[l] + uint32_t(i.immediate),
                        .bytes = w.at<uint32_t>(i.operand[2])[l],
                        .barrier = w.at<uint32_t>(i.operand[3])[l] + uint32_t(offsets[1]),
                        .source = w.at<uint64_t>(i.operand[1])[l] + uint64_t(int64_t{offsets[0]}),
                        .instruction = w.instruction()};
    w.block->check_bulk_copy(w, l, copy);
    w.block->bulk_copies.start(w, l, copy);
  });
}

}  // namespace

void add_bulk_copy_forms(Forms& f) {
  using enum InstructionClass;
  f.add("mbarrier.init.shared::cta.b64", {initialise, store_shared, "= s 4"});
  f.add("fence.mbarrier_init.release.cluster", {fence, control, ""});
  f.add("mbarrier.arrive.expect_tx.shared::cta.b64", {expect, barrier, "8 = s 4"});
  f.add("mbarrier.try_wait.parity.shared::cta.b64", {wait, barrier, "p = s 4"});
  f.add("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes",
        {copy, async_copy, "= s a 4 s"});
}

}  // namespace diffscm::softgpu
