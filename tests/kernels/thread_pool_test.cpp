// The pool itself; that kernels give the same bits on any number of threads is tested with each of
// them (expect_reproducible, Conv2dCpu.ThreadsDoNotChangeAResult).
#include "kernels/cpu/thread_pool.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>

#include "kernels/error.h"

namespace diffscm::kernels::cpu {
namespace {

using namespace std::chrono_literals;

// How often each task ran.
class Counts {
 public:
  explicit Counts(int64_t tasks) : counts_(static_cast<size_t>(tasks)) {}
  void add(int64_t task) { ++counts_.at(static_cast<size_t>(task)); }
  bool all_are(int expected) const {
    for (const std::atomic<int>& count : counts_)
      if (count != expected) return false;
    return true;
  }

 private:
  std::vector<std::atomic<int>> counts_;
};

// Sleeps until `ready`; false if that takes more than half a minute.
template <class Ready>
bool eventually(const Ready& ready) {
  for (int i = 0; i < 30000; ++i) {
    if (ready()) return true;
    std::this_thread::sleep_for(1ms);
  }
  return false;
}

TEST(ThreadPool, EveryTaskRunsOnce) {
  for (const int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const int64_t tasks : {0, 1, 2, 3, 6, 7, 8, 100, 1001}) {
      Counts counts(tasks);
      for (int round = 1; round <= 20; ++round) {
        pool.run(tasks, [&](int64_t task) { counts.add(task); });
        ASSERT_TRUE(counts.all_are(round)) << tasks << " tasks, " << threads << " threads";
      }
    }
  }
}

// One after the other as fast as they can, so that late workers meet the next region; some after a
// pause in which the workers fall asleep.
TEST(ThreadPool, ManySmallRegions) {
  ThreadPool pool(3);
  int64_t total = 0, expected = 0;
  for (int region = 0; region < 20000; ++region) {
    const int64_t tasks = 2 + region % 5;
    std::atomic<int64_t> sum = 0;
    pool.run(tasks, [&](int64_t task) { sum.fetch_add(task + 1, std::memory_order_relaxed); });
    total += sum;
    expected += tasks * (tasks + 1) / 2;
    if (region % 1000 == 0) std::this_thread::sleep_for(1ms);
  }
  EXPECT_EQ(total, expected);
}

TEST(ThreadPool, WorkersTakePart) {
  ThreadPool pool(3);
  std::atomic<int> present = 0;
  std::atomic<bool> met = false;
  pool.run(3, [&](int64_t) {
    ++present;
    if (eventually([&] { return present == 3; })) met = true;
  });
  EXPECT_TRUE(met);
}

TEST(ThreadPool, AThreadThatIsHeldUpHoldsUpOnlyWhatItHasTaken) {
  constexpr int64_t kTasks = 64;
  ThreadPool pool(2);
  std::atomic<int64_t> done = 0;
  std::atomic<bool> others_went_on = false;
  pool.run(kTasks, [&](int64_t task) {
    if (task == 0) others_went_on = eventually([&] { return done >= kTasks * 3 / 4; });
    ++done;
  });
  EXPECT_TRUE(others_went_on);
  EXPECT_EQ(done, kTasks);
}

TEST(ThreadPool, ACallerThatWasHeldUpWorksAloneForAWhile) {
  ThreadPool pool(2);
  const auto caller = std::this_thread::get_id();
  const auto helped = [&](std::chrono::milliseconds held) {
    std::atomic<bool> by_worker = false;
    pool.run(2, [&](int64_t) {
      if (std::this_thread::get_id() == caller)
        std::this_thread::sleep_for(1ms);  // time for the worker to come
      else
        std::this_thread::sleep_for(by_worker.exchange(true) ? 0ms : held);
    });
    return by_worker.load();
  };
  ASSERT_TRUE(eventually([&] { return helped(200ms); }));
  EXPECT_FALSE(helped(0ms));
  EXPECT_FALSE(helped(0ms));
  EXPECT_TRUE(eventually([&] { return helped(0ms); }));
}

TEST(ThreadPool, AnExceptionReachesTheCaller) {
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    for (int64_t bad = 0; bad < 12; ++bad) {
      try {
        pool.run(12, [&](int64_t task) {
          if (task == bad) throw std::runtime_error("task " + std::to_string(task));
        });
        ADD_FAILURE() << "nothing was thrown";
      } catch (const std::runtime_error& error) {
        EXPECT_EQ(error.what(), "task " + std::to_string(bad));
      }
      Counts counts(12);
      pool.run(12, [&](int64_t task) { counts.add(task); });
      EXPECT_TRUE(counts.all_are(1)) << "after an exception";
    }
    EXPECT_THROW(pool.run(100, [](int64_t) { throw std::bad_alloc(); }), std::bad_alloc);
  }
}

TEST(ThreadPool, ACallFromWithinATaskRunsInThatThread) {
  ThreadPool pool(3);
  Counts counts(20 * 30);
  std::atomic<bool> elsewhere = false;
  pool.run(20, [&](int64_t outer) {
    const auto thread = std::this_thread::get_id();
    int64_t next = 0;
    pool.run(30, [&](int64_t inner) {
      if (std::this_thread::get_id() != thread || inner != next++) elsewhere = true;
      counts.add(outer * 30 + inner);
    });
  });
  EXPECT_TRUE(counts.all_are(1));
  EXPECT_FALSE(elsewhere);
  EXPECT_THROW(
      pool.run(20, [&](int64_t) { pool.run(30, [](int64_t) { throw std::bad_alloc(); }); }),
      std::bad_alloc);
}

TEST(ThreadPool, SeveralCallersAtOnce) {
  ThreadPool pool(3);
  Counts counts(50);
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i)
    callers.emplace_back([&] {
      for (int round = 0; round < 500; ++round)
        pool.run(50, [&](int64_t task) { counts.add(task); });
    });
  for (std::thread& caller : callers) caller.join();
  EXPECT_TRUE(counts.all_are(4 * 500));
}

// The shared pool, with the environment and its number of threads as they were afterwards.
class SharedPool : public testing::Test {
 protected:
  void SetUp() override {
    before_ = threads();
    if (const char* value = std::getenv("OMP_NUM_THREADS")) variable_ = value;
  }
  void TearDown() override {
    if (variable_.empty())
      ::unsetenv("OMP_NUM_THREADS");
    else
      ::setenv("OMP_NUM_THREADS", variable_.c_str(), 1);
    set_threads(before_);
  }
  static int default_with(const char* value) {
    ::setenv("OMP_NUM_THREADS", value, 1);
    set_threads(0);
    return threads();
  }

 private:
  int before_ = 0;
  std::string variable_;
};

TEST_F(SharedPool, ChangesItsNumberOfThreads) {
  for (const int count : {1, 5, 2, 2, 7, 1, 3}) {
    set_threads(count);
    EXPECT_EQ(threads(), count);
    EXPECT_EQ(thread_pool().threads(), count);
    Counts counts(100);
    thread_pool().run(100, [&](int64_t task) { counts.add(task); });
    EXPECT_TRUE(counts.all_are(1));
  }
  for (const int wrong : {-1, kThreadsMax + 1}) EXPECT_THROW(set_threads(wrong), Error);
  EXPECT_EQ(threads(), 3);
}

TEST_F(SharedPool, StartsWithTheEnvironmentsNumberElseWithTheCoresAllowed) {
  EXPECT_EQ(default_with("3"), 3);
  EXPECT_EQ(default_with("2,4"), 2);
  cpu_set_t allowed, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
  for (const char* none : {"", "many", "0", "-2"})
    EXPECT_EQ(default_with(none), CPU_COUNT(&allowed)) << none;

  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu)
    if (CPU_ISSET(cpu, &allowed)) CPU_SET(cpu, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(default_with(""), 1);
  ASSERT_EQ(sched_setaffinity(0, sizeof allowed, &allowed), 0);
}

TEST_F(SharedPool, AForkedChildHasAPoolOfItsOwn) {
  set_threads(3);
  const auto sum = [] {
    std::atomic<int64_t> total = 0;
    thread_pool().run(100, [&](int64_t task) { total += task; });
    return total.load();
  };
  EXPECT_EQ(sum(), 4950);
  const pid_t child = ::fork();
  if (child == 0) ::_exit(sum() == 4950 && thread_pool().threads() == 3 ? 0 : 1);
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(sum(), 4950);
}

}  // namespace
}  // namespace diffscm::kernels::cpu
