// One block of a grid at work: its threads, who may run, and what the others wait for.
//
// An OS thread runs one block at a time. Its CUDA threads are fibers, but lazily: a fiber runs
// threads one after the other, and only a thread that has to wait keeps it; the next thread then
// gets another one. A kernel without barriers runs on a single fiber, without any switch.
//
// Order. Lanes released by a warp operation go to the front of the queue, those released by a
// barrier to its end, and threads that have not started come last. So one warp runs as far ahead of
// the others as barriers allow: that order keeps few stacks warm, and it is the one that shows a
// missing barrier soonest.
#pragma once

#include <array>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/emulator/async_copy.h"
#include "kernels/emulator/bulk_copy.h"
#include "kernels/emulator/fiber.h"
#include "kernels/emulator/launch.h"
#include "kernels/emulator/order.h"
#include "kernels/emulator/site.h"
#include "kernels/emulator/warp.h"
#include "kernels/emulator/warpgroup.h"

namespace diffscm::kernels::emulator {

struct Thread {
  enum class State { unstarted, running, ready, at_barrier, at_warp_operation, at_copies, exited };

  State state = State::unstarted;
  unsigned rank = 0;  // x + width (y + height z)
  emu::uint3 index{};
  Fiber* fiber = nullptr;
  Site site;  // where it waits
  AsyncCopies copies;
  WarpgroupProducts products;
  void* copy_barrier = nullptr;  // at_copies
};

// A double-ended queue of threads.
class ReadyQueue {
 public:
  unsigned size() const { return count_; }
  void clear() { count_ = 0; }
  void push_front(Thread* thread) {
    head_ = (head_ - 1) % kMaxThreads;
    slots_[head_] = thread;
    ++count_;
  }
  void push_back(Thread* thread) { slots_[(head_ + count_++) % kMaxThreads] = thread; }
  Thread* pop_front() {
    Thread* thread = slots_[head_];
    head_ = (head_ + 1) % kMaxThreads;
    --count_;
    return thread;
  }
  void bring_to_front(unsigned i) { std::swap(slots_[head_], slots_[(head_ + i) % kMaxThreads]); }

 private:
  std::array<Thread*, kMaxThreads> slots_{};
  unsigned head_ = 0, count_ = 0;
};

class Block {
 public:
  // That of the calling OS thread.
  static Block& mine();
  // That which the calling OS thread is running; null outside kernels.
  static Block* running();

  // Runs one block of the launch to its end. What a thread throws, and what the emulator finds
  // wrong, comes out of here.
  void run(const Launch& launch, emu::uint3 index, const Order& order);

  // What threads call.
  void barrier(Site site);
  void warp_operation(WarpOperation& operation, unsigned mask);
  void wait_for_copies(BulkCopies::Barrier& barrier, Site site);
  // Begins the barrier's next phase, if the present one is complete.
  void complete_phase(BulkCopies::Barrier& barrier, Site site);
  BulkCopies bulk_copies;
  Thread& self() { return *running_; }
  const Launch& launch() const { return *launch_; }
  // Throws Error "kernel K, block B, thread T, at FILE:LINE: <what>", with details on further
  // lines.
  [[noreturn]] void fail(const std::string& what, Site site, const std::string& details = "");
  // The same without unwinding the thread's stack, for callers that no exception may pass.
  [[noreturn]] void stop(const std::string& what, Site site, const std::string& details = "");

  // "kernel K, block B, thread T".
  std::string whereabouts() const;
  bool on_running_stack(const void* address) const { return fiber_->contains(address); }

 private:
  Block();
  static void fiber_main();
  void set_up(const Launch& launch, emu::uint3 index, const Order& order);
  void begin_thread();
  void end_thread();
  void wait(Thread::State state, Site site);
  void go_on(Context& from);
  void make_current(Thread* thread);
  void release_barrier();
  bool bring_copies();
  Fiber* take_fiber();
  [[noreturn]] void deadlock(Thread& thread);
  std::string waiting_threads();
  std::string message(const std::string& what, Site site, const std::string& details) const;

  const Launch* launch_ = nullptr;
  Order order_;
  Thread* running_ = nullptr;
  Fiber* fiber_ = nullptr;  // the one that runs
  unsigned threads_ = 0, started_ = 0, exited_ = 0, at_barrier_ = 0;
  Site barrier_site_;
  ReadyQueue ready_;
  std::vector<Thread> thread_;
  std::array<Warp, kMaxThreads / 32> warp_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  Context outside_;  // run()
  std::exception_ptr error_;
};

}  // namespace diffscm::kernels::emulator
