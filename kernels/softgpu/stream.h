// Streams, in whose order work is done, and events, which mark places in them.
//
// Work is done as late as CUDA allows: when somebody waits for it, or when too much of it waits. So
// a host that reads a result too early, or overwrites what a copy has still to read, shows every
// time. All of it is done by the thread that waits; nothing runs beside the program.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

#include "kernels/softgpu/capture.h"

namespace diffscm::softgpu {

// Something for the device to do: a launch, a copy. `what` names it in messages.
struct Work {
  std::string what;
  std::function<void()> run;
};
using WorkPointer = std::shared_ptr<const Work>;

// Work that failed while it ran. As on a GPU, no later call succeeds.
class Fault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Stream {
 public:
  explicit Stream(bool blocking) : blocking(blocking) {}

  const bool blocking;               // whether it and the legacy default stream wait for each other
  std::unique_ptr<Capture> capture;  // while it records

  void queue(WorkPointer work);
  // Does everything that was queued before `place`. Throws Fault.
  void run_until(uint64_t place);
  void run_all() { run_until(place()); }
  uint64_t place() const { return done_ + queue_.size(); }
  uint64_t done() const { return done_; }

 private:
  // About as many launches as a GPU's queue takes before the host has to wait.
  static constexpr size_t kLongest = 1024;

  std::deque<WorkPointer> queue_;
  uint64_t done_ = 0;
};

// Marks a place in a stream: that of its last record.
struct Event {
  std::weak_ptr<Stream> stream;
  uint64_t place = 0;
  bool captured = false;  // recorded while the stream was, so that nobody can wait for it

  void wait() const {
    if (const auto at = stream.lock()) at->run_until(place);
  }
  bool done() const {
    const auto at = stream.lock();
    return !at || at->done() >= place;
  }
};

}  // namespace diffscm::softgpu
