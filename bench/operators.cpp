// Operators of the cpu target under Google Benchmark: time per element, bytes per second as the
// contract counts them, and their ratio to what memcpy reaches on this machine (for work that fits
// the caches the ratio may exceed 1). Shapes: the cases marked `timed` in tests/op_cases.h.
//   bin/bench_operators --benchmark_filter=group_norm
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <random>

#include "kernels/cpu/table.h"
#include "tests/op_cases.h"

namespace diffscm::kernels {
namespace {

using Floats = std::vector<float>;

Floats random_floats(int64_t n) {
  std::mt19937 generator(1);
  std::normal_distribution<float> normal;
  Floats x(static_cast<size_t>(n));
  for (float& v : x) v = normal(generator);
  return x;
}

// Bytes read and written per second when all threads copy blocks far larger than the caches.
double memcpy_bandwidth() {
  static const double bandwidth = [] {
    constexpr int64_t kBlocks = 64, kBytes = 4 << 20;
    std::vector<char> from(kBlocks * kBytes, 1), to(kBlocks * kBytes, 2);
    double best = 0;
    for (int round = 0; round < 5; ++round) {
      const auto start = std::chrono::steady_clock::now();
#pragma omp parallel for schedule(static)
      for (int64_t b = 0; b < kBlocks; ++b)
        std::memcpy(to.data() + b * kBytes, from.data() + b * kBytes, kBytes);
      const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
      best = std::max(best, 2.0 * kBlocks * kBytes / elapsed.count());
    }
    return best;
  }();
  return bandwidth;
}

// Runs `call` and reports; `elements` is what time is divided by, 0 bytes or FLOPs are left out.
template <class F>
void measure(benchmark::State& state, double elements, double bytes, double flops, const F& call) {
  for (auto _ : state) {
    call();
    benchmark::ClobberMemory();
  }
  using Counter = benchmark::Counter;
  const auto calls = static_cast<double>(state.iterations());
  state.counters["ns/element"] =
      Counter(calls * elements * 1e-9, Counter::kIsRate | Counter::kInvert);
  if (bytes > 0) {
    state.counters["GB/s"] = Counter(calls * bytes * 1e-9, Counter::kIsRate);
    state.counters["of_memcpy"] = Counter(calls * bytes / memcpy_bandwidth(), Counter::kIsRate);
  }
  if (flops > 0) state.counters["GFLOP/s"] = Counter(calls * flops * 1e-9, Counter::kIsRate);
}

void group_norm(benchmark::State& state, const GroupNormCase& k, bool backward) {
  const OperatorTable& table = cpu::operators();
  const Floats x0 = random_floats(k.n * k.hw * k.c0), x1 = random_floats(k.n * k.hw * k.c1);
  const Floats gamma = random_floats(k.c()), beta = random_floats(k.c());
  const Floats scale_shift = random_floats(k.n * 2 * k.c()), dy = random_floats(k.size());
  Floats y(x0.size() + x1.size()), mean(k.n * k.groups), rstd(k.n * k.groups);
  Floats dx0(x0.size()), dx1(x1.size()), dgamma(k.c()), dbeta(k.c()), dss(scale_shift.size());
  const GroupNormArgs args{.n = k.n,
                           .hw = k.hw,
                           .c0 = k.c0,
                           .c1 = k.c1,
                           .groups = k.groups,
                           .eps = 1e-5f,
                           .silu = k.silu,
                           .dropout = {k.dropout, {}, 0},
                           .x0 = x0.data(),
                           .x1 = k.c1 > 0 ? x1.data() : nullptr,
                           .gamma = gamma.data(),
                           .beta = beta.data(),
                           .scale_shift = k.scale_shift ? scale_shift.data() : nullptr,
                           .y = y.data(),
                           .mean = mean.data(),
                           .rstd = rstd.data()};
  table.group_norm(args);
  const GroupNormBackwardArgs back{.forward = args,
                                   .dy = dy.data(),
                                   .dx0 = dx0.data(),
                                   .dx1 = k.c1 > 0 ? dx1.data() : nullptr,
                                   .dgamma = dgamma.data(),
                                   .dbeta = dbeta.data(),
                                   .dscale_shift = k.scale_shift ? dss.data() : nullptr};
  const auto size = static_cast<double>(k.size());
  if (backward)
    measure(state, size, k.backward_bytes(), 0, [&] { table.group_norm_backward(back); });
  else
    measure(state, size, k.bytes(), 0, [&] { table.group_norm(args); });
}

void attention(benchmark::State& state, const AttentionCase& k, bool backward) {
  const OperatorTable& table = cpu::operators();
  const Floats qkv = random_floats(k.n * k.tokens * 3 * k.channels);
  const Floats dout = random_floats(k.n * k.queries * k.channels);
  Floats out(dout.size()), lse(k.n * k.heads * k.queries), dqkv(qkv.size());
  const AttentionArgs args{k.n,      k.tokens,   k.queries,  k.channels, k.heads,
                           k.layout, qkv.data(), out.data(), lse.data()};
  table.attention(args);
  const auto size = static_cast<double>(out.size());
  if (backward)  // scores, dp, dq, dk, dv: five products instead of two
    measure(state, size, 0, 2.5 * k.flops(), [&] {
      table.attention_backward({args, dout.data(), dqkv.data()});
    });
  else
    measure(state, size, 0, k.flops(), [&] { table.attention(args); });
}

void ddim_update(benchmark::State& state, const DdimCase& k) {
  const int64_t size = k.n * k.elements;
  const Floats x = random_floats(size), eps = random_floats(size), gradient = random_floats(size);
  Floats out(size);
  DdimUpdateArgs args{.n = k.n,
                      .elements = k.elements,
                      .alpha_bar = k.alpha_bar,
                      .alpha_bar_next = k.alpha_bar_next,
                      .guidance_scale = k.guidance_scale,
                      .threshold = k.threshold,
                      .x = x.data(),
                      .eps = eps.data(),
                      .gradient = k.gradient ? gradient.data() : nullptr,
                      .out = out.data()};
  measure(state, static_cast<double>(size), k.bytes(), 0,
          [&] { cpu::operators().ddim_update(args); });
}

void adamw(benchmark::State& state, const AdamwCase& k) {
  const Floats gradient = random_floats(k.n);
  Floats p = gradient, m(k.n), v(k.n), ema = gradient;
  const AdamwArgs args{k.n,      k.step,
                       k.lr,     0.9,
                       0.999,    1e-8,
                       0.01,     0.999,
                       1,        gradient.data(),
                       p.data(), m.data(),
                       v.data(), k.ema ? ema.data() : nullptr};
  measure(state, static_cast<double>(k.n), k.bytes(), 0, [&] { cpu::operators().adamw(args); });
}

void silu(benchmark::State& state) {
  const int64_t n = state.range(0);
  const Floats x = random_floats(n);
  Floats y(n);
  measure(state, static_cast<double>(n), 2 * kFloat * static_cast<double>(n), 0, [&] {
    cpu::operators().silu({n, x.data(), y.data()});
  });
}

template <class Case, class... A>
void add(const char* operator_name, const std::vector<Case>& cases,
         void (*function)(benchmark::State&, const Case&, A...), A... extra) {
  for (const Case& k : cases) {
    if (!k.timed) continue;
    benchmark::RegisterBenchmark((std::string(operator_name) + "/" + k.name).c_str(),
                                 [=](benchmark::State& state) { function(state, k, extra...); })
        ->UseRealTime();
  }
}

}  // namespace
}  // namespace diffscm::kernels

int main(int argc, char** argv) {
  using namespace diffscm::kernels;
  benchmark::Initialize(&argc, argv);
  add("group_norm", group_norm_cases(), group_norm, false);
  add("group_norm_backward", group_norm_cases(), group_norm, true);
  add("attention", attention_cases(), attention, false);
  add("attention_backward", attention_cases(), attention, true);
  add("ddim_update", ddim_cases(), ddim_update);
  add("adamw", adamw_cases(), adamw);
  benchmark::RegisterBenchmark("silu", silu)->Arg(1 << 14)->Arg(1 << 22)->UseRealTime();
  benchmark::RunSpecifiedBenchmarks();
}
