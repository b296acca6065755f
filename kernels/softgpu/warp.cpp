#include "kernels/softgpu/warp.h"

#include <bit>
#include <utility>

#include "kernels/softgpu/block.h"

namespace diffscm::softgpu {

void Warp::start(uint32_t lanes) {
  existing = lanes;
  exited = 0;
  carry = 0;
  splits_.clear();
  joins_.clear();
  running = {};
  running.lanes = lanes;
  runs_ = true;
}

void Warp::branch(const Instruction& i) {
  if (active == running.lanes) {
    running.pc = i.target;
    return;
  }
  // The lanes part. They are waited for where their paths meet: by a join of their own, unless
  // they are in one for that place already, as in all rounds of a loop but the first.
  if (i.convergence != kNowhere && (running.join < 0 || joins_[running.join].pc != i.convergence)) {
    size_t free = 0;
    while (free < joins_.size() && joins_[free].expected != 0) ++free;
    if (free == joins_.size()) joins_.emplace_back();
    joins_[free] = {i.convergence, running.lanes, 0, running.join, {}};
    running.join = static_cast<int>(free);
  }
  Split taken = running;
  taken.lanes = active;
  taken.pc = i.target;
  splits_.push_back(taken);
  running.lanes &= ~active;
}

void Warp::call(const Instruction& i) {
  running.returns[running.depth++] = running.pc;  // decode has checked the depth
  running.pc = i.target;
}

void Warp::return_() {
  running.pc = running.returns[--running.depth];
}

// If all lanes that a join expects have arrived, frees it and gives what goes on from there.
bool Warp::complete(int join, Split* merged) {
  Join& j = joins_[static_cast<size_t>(join)];
  if (j.arrived != j.expected) return false;
  merged->lanes = j.arrived;
  merged->join = j.parent;
  merged->pc = j.pc + 1;
  j.expected = j.arrived = 0;
  return merged->lanes != 0;
}

void Warp::converge() {
  if (running.join < 0) return;
  Join& join = joins_[static_cast<size_t>(running.join)];
  if (join.pc != instruction()) return;
  join.arrived |= running.lanes;
  if (!complete(running.join, &running)) {
    join.waiting = running;
    runs_ = false;
  }
}

void Warp::exit() {
  exited |= active;
  running.lanes &= ~active;
  runs_ = running.lanes != 0;
  // Nobody waits for them any more.
  for (size_t j = 0; j < joins_.size(); ++j) {
    if ((joins_[j].expected & active) == 0) continue;
    joins_[j].expected &= ~active;
    Split merged = joins_[j].waiting;
    if (joins_[j].expected != 0 && complete(static_cast<int>(j), &merged))
      splits_.push_back(merged);
  }
  for (Split& s : splits_)
    if (s.state == Split::State::at_warp_barrier) s.state = Split::State::ready;  // asks again
}

void Warp::detach(uint32_t lanes) {
  if (lanes == running.lanes) return;
  Split rest = running;
  rest.lanes &= ~lanes;
  splits_.push_back(rest);
  running.lanes = lanes;
}

void Warp::wait_at(uint32_t barrier) {
  detach(active);
  running.state = Split::State::at_barrier;
  running.barrier = static_cast<uint8_t>(barrier);
  splits_.push_back(running);
  runs_ = false;
}

void Warp::wait_for_copies(uint32_t barrier) {
  detach(active);
  running.state = Split::State::at_copies;
  running.copies = barrier;
  splits_.push_back(running);
  runs_ = false;
}

void Warp::open_copies(uint32_t barrier) {
  for (Split& s : splits_)
    if (s.state == Split::State::at_copies && s.copies == barrier) s.state = Split::State::ready;
}

void Warp::open_barrier(uint32_t barrier) {
  for (Split& s : splits_)
    if (s.state == Split::State::at_barrier && s.barrier == barrier) s.state = Split::State::ready;
}

bool Warp::gather(uint32_t wanted) {
  wanted &= existing & ~exited;
  if (active == wanted) return true;
  uint32_t here = active;
  const auto waits_here = [&](const Split& s) {
    return s.state == Split::State::at_warp_barrier && s.pc == running.pc - 1 &&
           (s.wanted & existing & ~exited) == wanted;
  };
  for (const Split& s : splits_)
    if (waits_here(s)) here |= s.lanes;
  if (here == wanted) {
    for (Split& s : splits_)
      if (waits_here(s)) s.state = Split::State::ready, ++s.pc;
    active = wanted;
    return true;
  }
  detach(active);
  running.state = Split::State::at_warp_barrier;
  running.wanted = wanted;
  --running.pc;
  splits_.push_back(running);
  runs_ = false;
  return false;
}

bool Warp::resume() {
  if (runs_) return true;
  for (size_t s = splits_.size(); s-- > 0;) {
    if (splits_[s].state != Split::State::ready) continue;
    running = splits_[s];
    splits_.erase(splits_.begin() + static_cast<ptrdiff_t>(s));
    return runs_ = true;
  }
  return false;
}

void Warp::fault(int lane, const std::string& message) const {
  const Launch& launch = block->launch;
  const Extent& size = launch.shape.block;
  const uint32_t thread = number * kLanes + static_cast<uint32_t>(lane);
  fail("{} at {}, block ({}, {}, {}), thread ({}, {}, {}): {}: {}", launch.program.name,
       launch.program.where(instruction()), block->index.x, block->index.y, block->index.z,
       thread % size.x, thread / size.x % size.y, thread / (size.x * size.y),
       launch.program.origins[instruction()].opcode, message);
}

}  // namespace diffscm::softgpu
