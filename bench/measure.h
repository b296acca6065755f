// What a benchmark of operators needs besides Google Benchmark: the target under test, arrays in
// its memory, yardsticks, and a measurement in the units of the operators' contracts.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/targets.h"

namespace diffscm::kernels {

struct Target {
  const OperatorTable* table;
  const Runtime* runtime;
  double largest;   // work() of the largest case that is run
  int calls;        // in a recorded graph
  bool yardsticks;  // whether copies and large products are measured, to compare with

  bool is(std::string_view name) const { return runtime->target == name; }
};
inline Target target;

inline Target target_named(std::string_view name) {
  const BuiltTarget built = built_target(name);
  require(static_cast<bool>(built), "--target {}: {}", name, built.left_out);
  const std::string reason = built.runtime->unusable();
  require(reason.empty(), "--target {}: {}", name, reason);
  const double largest = name == "cuda" ? 1e12 : name == "cpu" ? 1e9 : 2e6;
  return {built.operators, built.runtime, largest, 20, true};
}

// An array in the target's memory; null when empty. Contents: standard normal numbers (a block of
// them again and again), or squares of them.
template <class T = float>
class Array {
 public:
  explicit Array(int64_t n, bool squared = false) {
    if (n == 0) return;
    const size_t bytes = static_cast<size_t>(n) * sizeof(T);
    data_ = static_cast<T*>(target.runtime->allocate(bytes));
    require(data_ != nullptr, "no memory for {} bytes on target {}", bytes, target.runtime->target);
    std::mt19937 generator(1);
    std::normal_distribution<float> normal;
    std::vector<T> block(static_cast<size_t>(std::min<int64_t>(n, 1 << 20)));
    for (T& v : block) {
      const float x = normal(generator), y = squared ? x * x : x;
      if constexpr (sizeof(T) == sizeof(bf16))
        v = to_bf16(y);
      else
        v = y;
    }
    for (size_t at = 0; at < bytes; at += block.size() * sizeof(T))
      target.runtime->copy(reinterpret_cast<char*>(data_) + at, block.data(),
                           std::min(block.size() * sizeof(T), bytes - at), Copy::to_device, {});
  }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  ~Array() {
    if (data_) target.runtime->release(data_);
  }
  operator T*() const { return data_; }

 private:
  T* data_ = nullptr;
};

template <class F>
double seconds(const F& f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Bytes read and written per second when copying blocks far larger than the caches; 0 where
// that would say nothing.
inline double copy_bandwidth() {
  static const double bandwidth = [] {
    constexpr int64_t kBlocks = 64, kBytes = 4 << 20;
    if (target.is("emu") || !target.yardsticks) return 0.0;
    const Array<float> from(kBlocks * kBytes / 4), to(kBlocks * kBytes / 4);
    double best = 0;
    for (int round = 0; round < 5; ++round) {
      const double elapsed = seconds([&] {
        if (target.is("cpu")) {
          char *x = reinterpret_cast<char*>(from.operator float*()),
               *y = reinterpret_cast<char*>(to.operator float*());
#pragma omp parallel for schedule(static)
          for (int64_t b = 0; b < kBlocks; ++b) std::memcpy(y + b * kBytes, x + b * kBytes, kBytes);
        } else {
          for (int i = 0; i < target.calls; ++i)
            target.runtime->copy(to, from, kBlocks * kBytes, Copy::within, {});
          target.runtime->synchronize({});
        }
      });
      best = std::max(best,
                      (target.is("cpu") ? 2.0 : 2.0 * target.calls) * kBlocks * kBytes / elapsed);
    }
    return best;
  }();
  return bandwidth;
}

// FLOPs per second of a large matrix product (cuBLAS on cuda where it is found), or 0.
template <class T>
double matrix_peak() {
  static const double peak = [] {
    if (target.is("emu") || !target.yardsticks) return 0.0;
    const int64_t size = target.is("cuda") ? 8192 : 1024;
    const Array<T> a(size * size), b(size * size), c(size * size);
    const auto& op = target.table->of(BasicMatmulArgs<T>{});
    const auto product = [&] {
      op({size, size, size, a, size, false, b, size, true, nullptr, nullptr, c, size});
    };
    product();
    target.runtime->synchronize({});
    double best = 0;
    for (int round = 0; round < 5; ++round) {
      const double elapsed = seconds([&] {
        for (int i = 0; i < 4; ++i) product();
        target.runtime->synchronize({});
      });
      best = std::max(best, 4 * 2.0 * static_cast<double>(size * size * size) / elapsed);
    }
    return best;
  }();
  return peak;
}

struct Work {
  double elements, bytes = 0, flops = 0;  // 0 bytes or FLOPs are left out
  double peak = 0;                        // FLOPs per second to compare with, or 0
};

// Runs `call` and reports.
template <class F>
void measure(benchmark::State& state, const Work& work, const F& call) {
  call();  // scratch memory, lazily loaded modules
  const Runtime& runtime = *target.runtime;
  if (target.is("cuda")) {
    runtime.synchronize({});
    runtime.begin_recording({});
    for (int i = 0; i < target.calls; ++i) call();
    const Recording recording = runtime.end_recording({});
    while (state.KeepRunningBatch(target.calls)) {
      runtime.replay(recording, {});
      runtime.synchronize({});
    }
    runtime.discard(recording);
  } else {
    for (auto _ : state) {
      call();
      benchmark::ClobberMemory();
    }
  }
  using Counter = benchmark::Counter;
  const auto calls = static_cast<double>(state.iterations());
  state.counters["ns/element"] =
      Counter(calls * work.elements * 1e-9, Counter::kIsRate | Counter::kInvert);
  if (work.bytes > 0) {
    state.counters["GB/s"] = Counter(calls * work.bytes * 1e-9, Counter::kIsRate);
    if (copy_bandwidth() > 0)
      state.counters["of_copy"] = Counter(calls * work.bytes / copy_bandwidth(), Counter::kIsRate);
  }
  if (work.flops > 0)
    state.counters["GFLOP/s"] = Counter(calls * work.flops * 1e-9, Counter::kIsRate);
  if (work.flops > 0 && work.peak > 0)
    state.counters["of_peak"] = Counter(calls * work.flops / work.peak, Counter::kIsRate);
}

}  // namespace diffscm::kernels
