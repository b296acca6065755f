// How far the long work of a data set is that is made once and then kept.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

namespace diffscm::data {

using ProgressListener = std::function<void(const std::string& what, int64_t done, int64_t total)>;

// Who hears of it; nobody by default. Called from one thread at a time. An exception that it throws
// ends the work, and reaches whoever asked for the data set.
void set_progress_listener(ProgressListener listener);

// Steps of one piece of work, counted from any thread.
class LongWork {
 public:
  LongWork(std::string what, int64_t total) : what_(std::move(what)), total_(total) {}
  void step_done();

 private:
  std::string what_;
  int64_t total_;
  std::atomic<int64_t> done_ = 0;
};

}  // namespace diffscm::data
