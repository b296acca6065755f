// Splitting work over threads, and scratch memory that is allocated once per thread.
//
// What a task computes never depends on how many threads run: kernels cut their work into tasks by
// shape alone and combine partial results in task order. That is what makes them bit-reproducible.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/cpu/thread_pool.h"

namespace diffscm::kernels::cpu {

// Calls f(task) for each task in [0, tasks), on several threads if that is worth it.
template <class F>
void parallel_tasks_if(bool worth_threads, int64_t tasks, const F& f) {
  if (worth_threads && tasks > 1) return thread_pool().run(tasks, f);
  for (int64_t task = 0; task < tasks; ++task) f(task);
}

// Waking threads costs a few microseconds: below this many element operations it is not worth it.
inline constexpr int64_t kSerialWork = 1 << 15;

// The same; `work` is the total in element operations.
template <class F>
void parallel_tasks(int64_t tasks, int64_t work, const F& f) {
  parallel_tasks_if(work > kSerialWork, tasks, f);
}

// Calls f(begin, end) on ranges of at most `grain` elements that cover [0, n).
template <class F>
void parallel_ranges(int64_t n, int64_t grain, const F& f) {
  parallel_tasks((n + grain - 1) / grain, n,
                 [&](int64_t task) { f(task * grain, std::min(n, (task + 1) * grain)); });
}

// Uninitialised memory that only ever grows; declare it thread_local. malloc of large blocks on
// each call would map and fault pages again and again.
template <class T>
class Scratch {
 public:
  T* get(int64_t count) {
    if (static_cast<size_t>(count) > memory_.size()) memory_.resize(static_cast<size_t>(count));
    return memory_.data();
  }

 private:
  std::vector<T> memory_;
};

}  // namespace diffscm::kernels::cpu
