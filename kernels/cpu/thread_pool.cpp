#include "kernels/cpu/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <system_error>

#include "kernels/error.h"

namespace diffscm::kernels::cpu {
namespace {

using Clock = std::chrono::steady_clock;

// That this process may use.
int cores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));  // beyond 1024 cores
}

// How long a thread looks out before it sleeps. Waking a sleeper takes tens of microseconds, and
// the next region usually follows within that time. A thread without a core of its own only keeps
// the others from working.
std::chrono::nanoseconds patience_of(int threads) {
  return std::chrono::microseconds(threads > cores() ? 0 : 50);
}

// A caller that has waited so long, and longer than it worked, did so for a worker that was not
// running: tasks are short and alike. It then works alone for a multiple of that time, so that all
// such waits together cost a tenth.
constexpr std::chrono::milliseconds kHeldUp{1};
constexpr int kAlone = 10;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until `word` is no longer `old`.
void await_change(const std::atomic<uint32_t>& word, uint32_t old,
                  std::chrono::nanoseconds patience) {
  constexpr int kLooks = 32;  // between looks at the clock
  if (patience.count() > 0) {
    const auto end = Clock::now() + patience;
    do {
      for (int i = 0; i < kLooks; ++i) {
        if (word.load(std::memory_order_acquire) != old) return;
        pause();
      }
    } while (Clock::now() < end);
  }
  word.wait(old);
}

}  // namespace

ThreadPool::ThreadPool(int threads) : patience_(patience_of(threads)) {
  require(threads >= 1, "a thread pool of {} threads", threads);
  workers_.reserve(static_cast<size_t>(threads - 1));
  try {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
  } catch (const std::system_error& error) {
    const size_t started = workers_.size();
    stop();
    fail("only {} of {} threads could be started ({}): give fewer with --threads", started + 1,
         threads, error.what());
  }
}

ThreadPool::~ThreadPool() {
  stop();
}

void ThreadPool::stop() {
  stopping_ = true;
  ++begun_;
  begun_.notify_all();
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
}

void ThreadPool::run(int64_t tasks, const void* function, Range range) {
  if (tasks <= 1 || workers_.empty() || busy_.exchange(true, std::memory_order_acquire))
    return range(function, 0, tasks);
  const auto start = Clock::now();
  if (start < alone_until_) {
    busy_.store(false, std::memory_order_release);
    return range(function, 0, tasks);
  }
  tasks_ = tasks;
  function_ = function;
  range_ = range;
  failed_.store(false, std::memory_order_relaxed);
  finished_.store(0, std::memory_order_relaxed);
  unfinished_.store(tasks, std::memory_order_relaxed);
  untaken_.store(tasks, std::memory_order_release);
  ++begun_;
  if (tasks > static_cast<int64_t>(workers_.size()))
    begun_.notify_all();
  else
    for (int64_t i = 1; i < tasks; ++i) begun_.notify_one();

  if (!take_tasks()) {
    const auto idle = Clock::now();
    await_change(finished_, 0, patience_);
    const auto now = Clock::now();
    const auto waited = now - idle;
    if (waited > kHeldUp && waited > 2 * (idle - start)) alone_until_ = now + kAlone * waited;
  }
  const std::exception_ptr error = std::exchange(error_, nullptr);
  busy_.store(false, std::memory_order_release);
  if (error) std::rethrow_exception(error);
}

void ThreadPool::work() {
  for (uint32_t seen = 0;;) {
    await_change(begun_, seen, patience_);
    seen = begun_.load(std::memory_order_acquire);
    if (stopping_.load(std::memory_order_relaxed)) return;
    if (take_tasks()) {
      finished_.store(1, std::memory_order_seq_cst);
      finished_.notify_one();
    }
  }
}

// Having taken tasks off `untaken_` says which ones they are, and keeps the region from ending;
// before that, nothing else of the region is looked at, as it may just be over and the next one be
// written. Portions shrink with what is left: few steps of the counter, yet an even end.
bool ThreadPool::take_tasks() {
  const int64_t portions = 2 * threads();
  int64_t left = untaken_.load(std::memory_order_relaxed);
  while (left > 0) {
    const int64_t count = std::max<int64_t>(1, left / portions);
    if (!untaken_.compare_exchange_weak(left, left - count, std::memory_order_acquire,
                                        std::memory_order_relaxed))
      continue;
    if (!failed_.load(std::memory_order_relaxed)) {
      try {
        range_(function_, tasks_ - left, tasks_ - left + count);
      } catch (...) {
        if (!failed_.exchange(true)) error_ = std::current_exception();
      }
    }
    if (unfinished_.fetch_sub(count, std::memory_order_acq_rel) == count) return true;
    left = untaken_.load(std::memory_order_relaxed);
  }
  return false;
}

namespace {

// The shared pool. It is never destroyed, so that it serves until the last destructor has run and
// sleeping workers do not hold up the end of the program.
struct Shared {
  std::mutex mutex;  // held while the others change
  std::atomic<ThreadPool*> pool = nullptr;
  std::atomic<int> threads = 0;  // of the pool, also before it is made; 0: not yet asked for
};
constinit Shared shared;

// OMP_NUM_THREADS may be a list, one number per level of nesting; the first one counts here.
int initial_threads() {
  const char* text = std::getenv("OMP_NUM_THREADS");
  const int wanted = text ? std::atoi(text) : 0;
  return wanted > 0 ? std::min(wanted, kThreadsMax) : cores();
}

// A child of fork() has no workers: it gets a pool of its own when it needs one.
void survive_forks() {
  pthread_atfork([] { shared.mutex.lock(); }, [] { shared.mutex.unlock(); },
                 [] {
                   shared.pool = nullptr;
                   shared.mutex.unlock();
                 });
}

}  // namespace

ThreadPool& thread_pool() {
  if (ThreadPool* pool = shared.pool.load(std::memory_order_acquire)) return *pool;
  [[maybe_unused]] static const bool once = (survive_forks(), true);
  const int wanted = threads();
  const std::lock_guard lock(shared.mutex);
  if (!shared.pool) shared.pool = new ThreadPool(wanted);
  return *shared.pool;
}

int threads() {
  if (const int threads = shared.threads.load(std::memory_order_relaxed)) return threads;
  set_threads(0);
  return shared.threads;
}

void set_threads(int threads) {
  require(threads >= 0 && threads <= kThreadsMax,
          "--threads {} is out of range: give 1 to {}, or 0 for all", threads, kThreadsMax);
  const std::lock_guard lock(shared.mutex);
  const int wanted = threads > 0 ? threads : initial_threads();
  if (shared.threads.exchange(wanted) != wanted) delete shared.pool.exchange(nullptr);
}

}  // namespace diffscm::kernels::cpu
