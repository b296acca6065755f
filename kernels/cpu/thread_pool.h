// The threads of the cpu target.
//
// A region is a number of independent tasks. The calling thread works on them too, and all take
// tasks off one counter, so a thread that the system does not run, because other programs want its
// core, holds up only the few tasks that it had taken; nobody waits for a thread that took none.
// Between regions the workers look out for the next one for a moment, then sleep. A caller that had
// to wait for a worker that was not run does without workers for a while.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

namespace diffscm::kernels::cpu {

class ThreadPool {
 public:
  // The calling thread and threads - 1 workers, started here. Throws Error when the system refuses.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls f(task) once for each task in [0, tasks), in any order and on any thread, and returns
  // when all are done. A call from within a task, or while another thread's call runs, does its
  // tasks itself, in order. An exception thrown by f reaches the caller (of several, one); tasks
  // not begun by then are left out.
  template <class F>
  void run(int64_t tasks, const F& f) {
    run(tasks, &f, [](const void* function, int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) (*static_cast<const F*>(function))(task);
    });
  }

 private:
  using Range = void (*)(const void* function, int64_t begin, int64_t end);

  void run(int64_t tasks, const void* function, Range range);
  void work();
  // True in the thread that finishes the last one.
  bool take_tasks();
  void stop();

  static constexpr int kCacheLine = 64;

  const std::chrono::nanoseconds patience_;
  std::vector<std::thread> workers_;
  std::atomic<bool> busy_ = false;  // a region runs

  // The region. Written by its caller between regions; a thread that has taken tasks may read.
  int64_t tasks_ = 0;
  const void* function_ = nullptr;
  Range range_ = nullptr;
  std::exception_ptr error_;
  std::chrono::steady_clock::time_point alone_until_{};  // callers do without workers

  alignas(kCacheLine) std::atomic<int64_t> untaken_ = 0;
  alignas(kCacheLine) std::atomic<int64_t> unfinished_ = 0;
  std::atomic<bool> failed_ = false;  // error_ is being set
  // What threads sleep on: workers until another region has begun, the caller until its region has
  // been finished by a worker.
  alignas(kCacheLine) std::atomic<uint32_t> begun_ = 0;  // counts
  std::atomic<bool> stopping_ = false;
  alignas(kCacheLine) std::atomic<uint32_t> finished_ = 0;  // 0 or 1
};

// The pool that all kernels share, made at its first use and never destroyed.
ThreadPool& thread_pool();

// Its number of threads. At first OMP_NUM_THREADS, else one for each core this process may use.
int threads();
inline constexpr int kThreadsMax = 4096;
// 0: what it is at first. Not while a kernel runs. Throws Error beyond kThreadsMax.
void set_threads(int threads);

}  // namespace diffscm::kernels::cpu
