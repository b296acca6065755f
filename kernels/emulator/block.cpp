#include "kernels/emulator/block.h"

#include <fmt/format.h>

#include <cstring>

#include "kernels/emulator/collectives.h"
#include "kernels/emulator/race.h"
#include "kernels/emulator/sanitizer.h"
#include "kernels/emulator/shared_memory.h"
#include "kernels/emulator/source_line.h"

namespace diffscm::kernels::emu {

constinit thread_local uint3 threadIdx{}, blockIdx{};
constinit thread_local dim3 blockDim, gridDim;

}  // namespace diffscm::kernels::emu

namespace diffscm::kernels::emulator {
namespace {

constinit thread_local Block* running_block = nullptr;

bool same_place(const Site& a, const Site& b) {
  return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}

}  // namespace

Block& Block::mine() {
  thread_local Block block;
  return block;
}

Block* Block::running() {
  return running_block;
}

Block::Block() : thread_(kMaxThreads) {}

void Block::run(const Launch& launch, emu::uint3 index, const Order& order) {
  set_up(launch, index, order);
  running_block = this;
  fiber_ = take_fiber();
  switch_context(outside_, fiber_->context);
  running_block = nullptr;
  if (error_) {
    // Whatever the other threads were doing is forgotten.
    idle_.clear();
    for (auto& fiber : fibers_) {
      fiber->restart();
      idle_.push_back(fiber.get());
    }
    std::rethrow_exception(std::exchange(error_, nullptr));
  }
}

void Block::set_up(const Launch& launch, emu::uint3 index, const Order& order) {
  launch_ = &launch;
  order_ = order;
  threads_ = launch.threads();
  started_ = exited_ = at_barrier_ = 0;
  ready_.clear();
  for (unsigned i = 0; i < threads_; ++i) thread_[i].state = Thread::State::unstarted;
  for (unsigned first = 0; first < threads_; first += 32) {
    Warp& warp = warp_[first / 32];
    warp.gatherings = 0;
    warp.exited = 0;
    warp.existing = threads_ - first >= 32 ? ~0u : (1u << (threads_ - first)) - 1;
  }
  emu::blockIdx = index;
  emu::blockDim = launch.block;
  emu::gridDim = launch.grid;
  prepare_shared_memory(launch.shared_bytes);
  bulk_copies.clear();
  if (race::kChecked) race::begin_block(threads_);
}

// One fiber: runs threads until none is left to start.
void Block::fiber_main() {
  fiber_entered();
  Block& block = *running_block;
  for (;;) {
    block.begin_thread();
    try {
      block.launch_->thread();
      block.end_thread();
    } catch (...) {
      block.error_ = std::current_exception();
    }
    if (block.error_) {
      switch_context(block.fiber_->context, block.outside_);
    } else if (block.ready_.size() > 0 || block.started_ == block.threads_) {
      // Somebody else goes on. This fiber may be given another thread to start later.
      block.idle_.push_back(block.fiber_);
      block.go_on(block.fiber_->context);
    }
  }
}

void Block::begin_thread() {
  const auto rank = static_cast<unsigned>(order_.at(started_++, threads_));
  Thread& thread = thread_[rank];
  const emu::dim3& size = launch_->block;
  thread.rank = rank;
  thread.index = size.y == 1 && size.z == 1
                     ? emu::uint3{rank, 0, 0}
                     : emu::uint3{rank % size.x, rank / size.x % size.y, rank / size.x / size.y};
  thread.fiber = fiber_;
  thread.copies.clear();
  thread.products.clear();
  make_current(&thread);
}

void Block::make_current(Thread* thread) {
  thread->state = Thread::State::running;
  running_ = thread;
  fiber_ = thread->fiber;
  emu::threadIdx = thread->index;
}

void Block::end_thread() {
  Thread& thread = *running_;
  if (!thread.products.empty()) fail("the thread ends without waiting for its wgmma", {});
  thread.state = Thread::State::exited;
  ++exited_;
  Warp& warp = warp_[thread.rank / 32];
  const unsigned lane = thread.rank % 32;
  warp.exited |= 1u << lane;
  for (int i = 0; i < warp.gatherings; ++i) {
    const Warp::Gathering& gathering = warp.gathering[i];
    if (gathering.mask >> lane & 1) {
      const WarpOperation& other = *warp.operation[__builtin_ctz(gathering.arrived)];
      fail(fmt::format("lane {} has exited, but other lanes of mask 0x{:08x} wait for it in {}",
                       lane, gathering.mask, name(other.kind)),
           other.site, waiting_threads());
    }
  }
  if (at_barrier_ > 0)
    fail("the thread has exited while others of its block wait at __syncthreads()", barrier_site_,
         waiting_threads());
  if (exited_ == threads_) {
    if (const BulkCopies::Copy* copy = bulk_copies.under_way())
      fail("the block ends without waiting for its bulk copy", copy->site);
  } else if (ready_.size() == 0 && started_ == threads_ && !bring_copies()) {
    deadlock(thread);
  }
}

Fiber* Block::take_fiber() {
  if (idle_.empty()) {
    fibers_.push_back(std::make_unique<Fiber>(&Block::fiber_main, fibers_.size()));
    return fibers_.back().get();
  }
  Fiber* fiber = idle_.back();
  idle_.pop_back();
  return fiber;
}

// Leaves the running fiber for whoever comes next. The caller has seen to it that there is someone.
void Block::go_on(Context& from) {
  const unsigned waiting = ready_.size(), unstarted = threads_ - started_;
  bool start = waiting == 0;
  if (order_.kind == Order::Kind::random && waiting > 0) {
    const auto i = static_cast<unsigned>(order_.draw(waiting + (unstarted > 0 ? 1 : 0)));
    start = i == waiting;
    if (!start) ready_.bring_to_front(i);
  }
  if (!start) {
    make_current(ready_.pop_front());
    if (&fiber_->context != &from) switch_context(from, fiber_->context);
  } else if (unstarted > 0) {
    fiber_ = take_fiber();
    if (&fiber_->context != &from) switch_context(from, fiber_->context);
  } else {
    switch_context(from, outside_);
  }
}

void Block::wait(Thread::State state, Site site) {
  Thread& thread = *running_;
  thread.state = state;
  thread.site = site;
  if (ready_.size() == 0 && started_ == threads_ && !bring_copies()) deadlock(thread);
  go_on(thread.fiber->context);
}

void Block::barrier(Site site) {
  if (exited_ > 0)
    fail(fmt::format("__syncthreads() can never be complete: {} of the block's {} threads have "
                     "exited",
                     exited_, threads_),
         site, waiting_threads());
  if (at_barrier_ == 0) {
    barrier_site_ = site;
  } else if (!same_place(site, barrier_site_)) {
    fail(fmt::format("divergent __syncthreads(): other threads of the block wait at {}",
                     place(barrier_site_)),
         site, waiting_threads());
  }
  if (++at_barrier_ < threads_) {
    wait(Thread::State::at_barrier, site);
  } else {
    release_barrier();
  }
}

void Block::release_barrier() {
  at_barrier_ = 0;
  if (race::kChecked) race::barrier();
  for (unsigned i = 0; i < threads_; ++i) {
    Thread& thread = thread_[order_.kind == Order::Kind::reverse ? threads_ - 1 - i : i];
    if (&thread == running_) continue;
    thread.state = Thread::State::ready;
    ready_.push_back(&thread);
  }
}

void Block::wait_for_copies(BulkCopies::Barrier& barrier, Site site) {
  barrier.awaited = true;
  running_->copy_barrier = barrier.at;
  wait(Thread::State::at_copies, site);
}

void Block::complete_phase(BulkCopies::Barrier& barrier, Site site) {
  if (barrier.missing_arrivals > 0 || barrier.missing_bytes > 0) return;
  if (barrier.missing_bytes < 0)
    fail(fmt::format("{} bytes more were copied than expect_copies() announced",
                     -barrier.missing_bytes),
         site);
  bulk_copies.begin_phase(barrier);
  for (unsigned i = 0; i < threads_; ++i) {
    Thread& thread = thread_[order_.kind == Order::Kind::reverse ? threads_ - 1 - i : i];
    if (thread.state != Thread::State::at_copies || thread.copy_barrier != barrier.at) continue;
    thread.state = Thread::State::ready;
    ready_.push_back(&thread);
  }
}

// When nobody can go on without them. Whether somebody can now.
bool Block::bring_copies() {
  while (ready_.size() == 0) {
    BulkCopies::Barrier* const barrier = bulk_copies.carry_out();
    if (barrier == nullptr) return false;
    complete_phase(*barrier, running_->site);
  }
  return true;
}

void Block::warp_operation(WarpOperation& operation, unsigned mask) {
  Thread& thread = *running_;
  Warp& warp = warp_[thread.rank / 32];
  const unsigned lane = thread.rank % 32;
  if (!(mask >> lane & 1))
    fail(fmt::format("{} with mask 0x{:08x}, which does not contain the calling lane {}",
                     name(operation.kind), mask, lane),
         operation.site);
  if (mask & (warp.exited | ~warp.existing)) {
    const int missing = __builtin_ctz(mask & (warp.exited | ~warp.existing));
    fail(fmt::format("{} with mask 0x{:08x} names lane {}, which {}", name(operation.kind), mask,
                     missing,
                     warp.existing >> missing & 1 ? "has exited" : "the block does not have"),
         operation.site);
  }
  int i = 0;
  while (i < warp.gatherings && warp.gathering[i].mask != mask) ++i;
  if (i == warp.gatherings) warp.gathering[warp.gatherings++] = {mask, 0};
  Warp::Gathering& gathering = warp.gathering[i];
  if (gathering.arrived != 0) {
    const int first = __builtin_ctz(gathering.arrived);
    const WarpOperation& other = *warp.operation[first];
    if (other.kind != operation.kind)
      fail(fmt::format("lanes of one mask, 0x{:08x}, are in different operations: {} here, {} in "
                       "lane {} at {}",
                       mask, name(operation.kind), name(other.kind), first, place(other.site)),
           operation.site);
  }
  warp.operation[lane] = &operation;
  gathering.arrived |= 1u << lane;
  if (gathering.arrived != mask) {
    wait(Thread::State::at_warp_operation, operation.site);
    return;
  }
  gathering = warp.gathering[--warp.gatherings];
  switch (operation.kind) {
    case WarpOperation::Kind::sync:
      if (race::kChecked) race::sync_warp(thread.rank / 32, mask);
      break;
    case WarpOperation::Kind::shuffle:
    case WarpOperation::Kind::shuffle_up:
    case WarpOperation::Kind::shuffle_down:
    case WarpOperation::Kind::shuffle_xor:
      shuffle(warp.operation, mask);
      break;
    case WarpOperation::Kind::ballot:
      ballot(warp.operation, mask);
      break;
    case WarpOperation::Kind::ldmatrix:
      ldmatrix(warp.operation);
      break;
    case WarpOperation::Kind::stmatrix:
      stmatrix(warp.operation);
      break;
    case WarpOperation::Kind::mma:
      mma_m16n8k16(warp.operation);
      break;
  }
  const unsigned first = thread.rank - lane;
  for (unsigned others = mask & ~(1u << lane); others != 0;) {
    const unsigned next =
        order_.kind == Order::Kind::reverse ? __builtin_ctz(others) : 31 - __builtin_clz(others);
    others &= ~(1u << next);
    thread_[first + next].state = Thread::State::ready;
    ready_.push_front(&thread_[first + next]);
  }
}

void barrier(Site site) {
  site.pc = __builtin_return_address(0);
  running_block->barrier(site);
}
void warp_operation(WarpOperation& operation, unsigned mask) {
  operation.site.pc = __builtin_return_address(0);
  running_block->warp_operation(operation, mask);
}

}  // namespace diffscm::kernels::emulator

#if DIFFSCM_EMU_ASAN
// AddressSanitizer calls this before its report, which names the line but knows no threads.
extern "C" void __asan_on_error() {
  const auto* block = diffscm::kernels::emulator::Block::running();
  if (block != nullptr) fmt::print(stderr, "in {}\n", block->whereabouts());
}
#endif
