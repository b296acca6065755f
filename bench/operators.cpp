// Operators of one target under Google Benchmark: time per element, bytes and FLOPs per second as
// the contracts count them, and the ratio to what copying reaches on the same memory (for work that
// fits a cache the ratio may exceed 1).
//
//   bin/bench_operators --target cuda --benchmark_filter='group_norm.*batch1024'
//
// --target cpu|cuda|emu (default cpu), then Google Benchmark's own flags: --benchmark_list_tests,
// --benchmark_format=json ... Shapes: the cases of tests/op_cases.h marked `timed`, every
// convolution of the MNIST models, and adm_ of the ImageNet ones (bench/adm_cases.h); names are
// operator/case, with _bf16 after the operator for bf16 storage. On cuda 20 calls (--calls) are
// recorded as one graph, so that the time is that of the kernels and not of launching them. With
// --yardsticks no nothing is compared with copies and large matrix products.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <vector>

#include "bench/adm_cases.h"
#include "bench/measure.h"
#include "tests/conv_cases.h"
#include "tests/op_cases.h"

namespace diffscm::kernels {
namespace {

enum class Pass { forward, backward, backward_weight };

template <class T>
void conv2d(benchmark::State& state, const ConvCase& k, Pass pass) {
  const OperatorTable& table = *target.table;
  const ConvShape& s = k.shape;
  const int64_t in = s.n * s.h * s.w, out = s.n * s.p() * s.q() * s.k;
  const Array<T> x0(in * s.c0), x1(in * s.c1), weight(s.k * s.r * s.s * s.c()), y(out);
  const Array<float> bias(s.k);
  const Work work{static_cast<double>(out), k.elements() * sizeof(T), k.flops(), matrix_peak<T>()};
  // As in inference: packed once.
  const auto& pack = table.of(BasicConv2dPackArgs<T>{});
  int64_t elements = 0;
  pack({s, pass == Pass::backward, weight, nullptr, &elements});
  const Array<T> packed(elements);
  if (elements > 0) pack({s, pass == Pass::backward, weight, packed, nullptr});

  if (pass == Pass::forward) {
    const auto& op = table.of(BasicConv2dArgs<T>{});
    measure(state, work, [&] { op({s, x0, x1, weight, packed, bias, nullptr, y}); });
  } else if (pass == Pass::backward) {
    const auto& op = table.of(BasicConv2dBackwardInputArgs<T>{});
    measure(state, work, [&] { op({s, y, weight, packed, x0, x1}); });
  } else {
    const Array<float> dweight(s.k * s.r * s.s * s.c()), dbias(s.k);
    const auto& op = table.of(BasicConv2dBackwardWeightArgs<T>{});
    measure(state, work, [&] { op({s, x0, x1, y, dweight, dbias}); });
  }
}

// Of the last and the first convolution of a network in bf16.
template <class T, class X>
void weight_gradient_of_few(benchmark::State& state, const ConvCase& k) {
  const ConvShape& s = k.shape;
  const Array<X> x(s.n * s.h * s.w * s.c0);
  const Array<T> dy(s.n * s.h * s.w * s.k);
  const Array<float> dweight(s.k * 9 * s.c0), dbias(s.k);
  const double moved = static_cast<double>(s.n * s.h * s.w) *
                       static_cast<double>(s.c0 * int64_t{sizeof(X)} + s.k * int64_t{sizeof(T)});
  measure(state, {static_cast<double>(s.n * s.h * s.w), moved, k.flops()}, [&] {
    target.table->of(BasicConv2dBackwardWeightArgs<T, X>{})({s, x, nullptr, dy, dweight, dbias});
  });
}

// Of an input that is normalised on the way, and what that takes beside it.
void conv2d_normalised(benchmark::State& state, const ConvCase& k) {
  const ConvShape& s = k.shape;
  const int64_t in = s.n * s.h * s.w, out = s.n * s.p() * s.q() * s.k;
  const Array<bf16> x0(in * s.c0), x1(in * s.c1), weight(s.k * s.r * s.s * s.c()), y(out);
  const Array<float> bias(s.k), coefficients(s.n * 2 * s.c());
  const Work work{static_cast<double>(out), k.elements() * sizeof(bf16), k.flops(),
                  matrix_peak<bf16>()};
  measure(state, work, [&] {
    target.table->conv2d_normalised_bf16(
        {{s, x0, x1, weight, nullptr, bias, nullptr, y}, coefficients});
  });
}
void norm_coefficients(benchmark::State& state, const ConvCase& k) {
  const ConvShape& s = k.shape;
  const int64_t elements = s.n * s.h * s.w * s.c();
  const Array<bf16> x0(s.n * s.h * s.w * s.c0), x1(s.n * s.h * s.w * s.c1);
  const Array<float> gamma(s.c()), beta(s.c()), coefficients(s.n * 2 * s.c());
  const int64_t groups = s.c() % 32 == 0 ? 32 : s.c() / 8;
  measure(state, {static_cast<double>(elements), static_cast<double>(elements) * sizeof(bf16)},
          [&] {
            target.table->norm_coefficients_bf16({s.n, s.h * s.w, s.c0, s.c1, groups, 1e-5f, x0, x1,
                                                  gamma, beta, nullptr, coefficients});
          });
}

template <class T>
void group_norm(benchmark::State& state, const GroupNormCase& k, Pass pass) {
  const OperatorTable& table = *target.table;
  const int64_t pixels = k.n * k.hw, film = k.scale_shift ? k.n * 2 * k.c() : 0;
  const Array<T> x0(pixels * k.c0), x1(pixels * k.c1), y(k.size());
  const Array<float> gamma(k.c()), beta(k.c()), scale_shift(film);
  const Array<float> mean(k.n * k.groups), rstd(k.n * k.groups);
  const BasicGroupNormArgs<T> args{.n = k.n,
                                   .hw = k.hw,
                                   .c0 = k.c0,
                                   .c1 = k.c1,
                                   .groups = k.groups,
                                   .eps = 1e-5f,
                                   .silu = k.silu,
                                   .dropout = {k.dropout, {}, 0},
                                   .x0 = x0,
                                   .x1 = x1,
                                   .gamma = gamma,
                                   .beta = beta,
                                   .scale_shift = scale_shift,
                                   .y = y,
                                   .mean = mean,
                                   .rstd = rstd};
  const auto& forward = table.of(BasicGroupNormArgs<T>{});
  const auto size = static_cast<double>(k.size());
  constexpr double kShare = sizeof(T) / kFloat;
  if (pass == Pass::forward)
    return measure(state, {size, kShare * k.bytes()}, [&] { forward(args); });
  forward(args);
  const Array<T> dx0(pixels * k.c0), dx1(pixels * k.c1), dy(k.size());
  const Array<float> dgamma(k.c()), dbeta(k.c()), dscale_shift(film);
  const BasicGroupNormBackwardArgs<T> back{.forward = args,
                                           .dy = dy,
                                           .dx0 = dx0,
                                           .dx1 = dx1,
                                           .dgamma = dgamma,
                                           .dbeta = dbeta,
                                           .dscale_shift = dscale_shift};
  const auto& backward = table.of(BasicGroupNormBackwardArgs<T>{});
  measure(state, {size, kShare * k.backward_bytes()}, [&] { backward(back); });
}

template <class T>
void attention(benchmark::State& state, const AttentionCase& k, Pass pass) {
  const OperatorTable& table = *target.table;
  const int64_t inputs = k.n * k.tokens * 3 * k.channels, outputs = k.n * k.queries * k.channels;
  const Array<T> qkv(inputs), out(outputs);
  const Array<float> lse(k.n * k.heads * k.queries);
  const BasicAttentionArgs<T> args{k.n,      k.tokens, k.queries, k.channels, k.heads,
                                   k.layout, qkv,      out,       lse};
  const auto& forward = table.of(BasicAttentionArgs<T>{});
  const Work work{static_cast<double>(outputs), static_cast<double>(inputs + outputs) * sizeof(T),
                  k.flops()};
  if (pass == Pass::forward) return measure(state, work, [&] { forward(args); });
  forward(args);
  const Array<T> dout(outputs), dqkv(inputs);
  const auto& backward = table.of(BasicAttentionBackwardArgs<T>{});
  // scores, dp, dq, dk, dv: five products instead of two
  measure(state, {work.elements, 2 * work.bytes, 2.5 * work.flops}, [&] {
    backward({args, dout, dqkv});
  });
}

template <class T>
void matmul(benchmark::State& state, const MatmulCase& k) {
  const int64_t lda = k.transpose_a ? k.m : k.k, ldb = k.transpose_b ? k.k : k.n;
  const Array<T> a(k.m * k.k), b(k.k * k.n), residual(k.residual ? k.m * k.n : 0), c(k.m * k.n);
  const Array<float> bias(k.bias ? k.n : 0);
  const auto& op = target.table->of(BasicMatmulArgs<T>{});
  const double moved = static_cast<double>(k.m * k.k + k.k * k.n + k.m * k.n) * sizeof(T);
  measure(state, {static_cast<double>(k.m * k.n), moved, k.flops(), matrix_peak<T>()}, [&] {
    op({k.m, k.n, k.k, a, lda, k.transpose_a, b, ldb, k.transpose_b, bias, residual, c, k.n});
  });
}

void linear_group(benchmark::State& state, const LinearGroupCase& k, Pass pass) {
  const bool forward = pass == Pass::forward;
  const Array<float> x(k.m * k.k), weights(k.k * k.out()), biases(k.out()), y(k.m * k.out());
  const Array<float> dx(forward ? 0 : k.m * k.k), dweights(forward ? 0 : k.k * k.out());
  const Array<float> dbiases(forward ? 0 : k.out());
  std::vector<LinearGroupArgs::Layer> layers;
  std::vector<LinearGroupBackwardArgs::Layer> backwards;
  for (int64_t at = 0; const int64_t out : k.outs) {
    layers.push_back({out, weights + at * k.k, biases + at, y + at * k.m, out});
    backwards.push_back({out, weights + at * k.k, y + at * k.m, dweights + at * k.k, dbiases + at});
    at += out;
  }
  const auto count = static_cast<int64_t>(layers.size());
  const double moved = kFloat * static_cast<double>(k.m * k.k + k.k * k.out() + k.m * k.out());
  const double passes = forward ? 1 : 2;
  measure(state,
          {static_cast<double>(k.m * k.out()), passes * moved, passes * k.flops(),
           matrix_peak<float>()},
          [&] {
            if (forward)
              target.table->linear_group({k.m, k.k, x, count, layers.data()});
            else
              target.table->linear_group_backward({k.m, k.k, x, count, backwards.data(), dx});
          });
}

void time_projections(benchmark::State& state, const TimeProjectionsCase& k) {
  const int64_t parameters = k.hidden * (k.channels + k.hidden + k.out() + 2);
  const Array<float> t(k.n), weight1(k.hidden * k.channels), weight2(k.hidden * k.hidden);
  const Array<float> bias(k.hidden), weights(k.hidden * k.out()), y(k.n * k.out());
  std::vector<LinearGroupArgs::Layer> layers;
  for (int64_t at = 0; const int64_t out : k.outs) {
    layers.push_back({out, weights + at * k.hidden, nullptr, y + at * k.n, out});
    at += out;
  }
  measure(
      state,
      {static_cast<double>(k.n * k.out()), kFloat * static_cast<double>(parameters + k.n * k.out()),
       k.flops(), matrix_peak<float>()},
      [&] {
        target.table->time_projections({k.n, k.channels, k.hidden, k.last_frequency, t, weight1,
                                        bias, weight2, bias, nullptr, std::ssize(layers),
                                        layers.data()});
      });
}

template <class T>
void silu(benchmark::State& state, const SizeCase& k) {
  const Array<T> x(k.n), y(k.n);
  const auto& op = target.table->of(BasicSiluArgs<T>{});
  measure(state, {k.work(), 2.0 * sizeof(T) * k.work()}, [&] { op({k.n, x, y}); });
}

void normal(benchmark::State& state, const SizeCase& k) {
  const int64_t elements = 784, n = (k.n + elements - 1) / elements;
  std::vector<int64_t> samples(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) samples[static_cast<size_t>(i)] = i;
  const Array<double> memory(n);  // of the same size as the indices
  void* index = memory.operator double*();
  target.runtime->copy(index, samples.data(), sizeof(int64_t) * samples.size(), Copy::to_device,
                       {});
  const Array<float> y(n * elements);
  const auto size = static_cast<double>(n * elements);
  measure(state, {size, kFloat * size}, [&] {
    target.table->normal({{}, n, elements, static_cast<const int64_t*>(index), y});
  });
}

void ddim_update(benchmark::State& state, const DdimCase& k) {
  const int64_t size = k.n * k.elements;
  const Array<float> x(size), eps(size), gradient(k.gradient ? size : 0), out(size);
  const DdimUpdateArgs args{.n = k.n,
                            .elements = k.elements,
                            .alpha_bar = k.alpha_bar,
                            .alpha_bar_next = k.alpha_bar_next,
                            .guidance_scale = k.guidance_scale,
                            .threshold = k.threshold,
                            .x = x,
                            .eps = eps,
                            .gradient = gradient,
                            .out = out};
  measure(state, {static_cast<double>(size), k.bytes()}, [&] { target.table->ddim_update(args); });
}

void adamw(benchmark::State& state, const AdamwCase& k) {
  const Array<float> gradient(k.n), p(k.n), m(k.n), v(k.n, true), ema(k.ema ? k.n : 0);
  const AdamwArgs args{.n = k.n,
                       .step = k.step,
                       .lr = k.lr,
                       .beta1 = 0.9,
                       .beta2 = 0.999,
                       .eps = 1e-8,
                       .weight_decay = 0.01,
                       .ema_decay = 0.999,
                       .gradient_scale = 1,
                       .gradient = gradient,
                       .parameter = p,
                       .m = m,
                       .v = v,
                       .ema = ema};
  measure(state, {static_cast<double>(k.n), k.bytes()}, [&] { target.table->adamw(args); });
}

template <class Case, class F>
void add(const std::string& operator_name, const std::vector<Case>& cases, F function) {
  for (const Case& k : cases) {
    if (!k.timed || k.work() > target.largest) continue;
    benchmark::RegisterBenchmark(
        (operator_name + "/" + std::string(k.name)).c_str(),
        [=](benchmark::State& state) {
          try {
            function(state, k);
          } catch (const Error& e) {  // a forced rung that refuses the case
            state.SkipWithError(e.what());
          }
        })
        ->UseRealTime();
  }
}

template <class Case>
std::vector<Case> both(std::vector<Case> cases, const std::vector<Case>& more) {
  cases.insert(cases.end(), more.begin(), more.end());
  return cases;
}

template <class T>
void add_typed(const std::string& suffix) {
  using State = benchmark::State;
  const std::pair<std::string, Pass> passes[] = {{"", Pass::forward},
                                                 {"_backward", Pass::backward}};
  for (const auto& [name, pass] : passes) {
    add("group_norm" + name + suffix, both(group_norm_cases(), adm_group_norm_cases()),
        [pass = pass](State& s, const GroupNormCase& k) { group_norm<T>(s, k, pass); });
    add("attention" + name + suffix, both(attention_cases(), adm_attention_cases()),
        [pass = pass](State& s, const AttentionCase& k) { attention<T>(s, k, pass); });
  }
  add("matmul" + suffix, matmul_cases(), matmul<T>);
  add("silu" + suffix, size_cases(), silu<T>);
  const std::pair<std::string, Pass> conv_passes[] = {
      {"conv2d", Pass::forward},
      {"conv2d_backward_input", Pass::backward},
      {"conv2d_backward_weight", Pass::backward_weight}};
  for (const auto& [name, pass] : conv_passes)
    add(name + suffix, both(timed_conv_cases(), adm_conv_cases()),
        [pass = pass](State& s, const ConvCase& k) { conv2d<T>(s, k, pass); });
}

// Takes "--NAME VALUE" or "--NAME=VALUE" out of the arguments; `value` if it is not there.
std::string take(int& argc, char** argv, const std::string& name, std::string value) {
  int kept = 0;
  for (int i = 0; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == name) {
      require(i + 1 < argc, "{}: a value is missing", name);
      value = argv[++i];
    } else if (argument.starts_with(name + "=")) {
      value = argument.substr(name.size() + 1);
    } else {
      argv[kept++] = argv[i];
    }
  }
  argc = kept;
  return value;
}

int run(int argc, char** argv) {
  target = target_named(take(argc, argv, "--target", "cpu"));
  const std::string calls = take(argc, argv, "--calls", "20");
  target.calls = std::atoi(calls.c_str());
  target.yardsticks = take(argc, argv, "--yardsticks", "yes") != "no";
  require(target.calls > 0, "--calls {}: give a number from 1 on", calls);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::AddCustomContext("target", target.runtime->target);
  benchmark::AddCustomContext("device", target.runtime->describe());
  add_typed<float>("");
  if (target.table->silu_bf16) add_typed<bf16>("_bf16");
  std::vector<ConvCase> normalised = timed_conv_cases();
  std::erase_if(normalised, [](const ConvCase& k) { return !normalisation_joins(k.shape); });
  if (target.table->silu_bf16) {
    add("conv2d_normalised_bf16", normalised, conv2d_normalised);
    std::vector<ConvCase> last = both(timed_conv_cases(), adm_conv_cases()), first = last;
    std::erase_if(last, [](const ConvCase& k) {
      return !weight_gradient_of_few(k.shape, k.shape.k, k.shape.c0);
    });
    std::erase_if(first, [](const ConvCase& k) {
      return !weight_gradient_of_few(k.shape, k.shape.c0, k.shape.k);
    });
    add("conv2d_backward_weight_f32_bf16", last, weight_gradient_of_few<float, bf16>);
    add("conv2d_backward_weight_bf16_f32", first, weight_gradient_of_few<bf16, float>);
    add("norm_coefficients_bf16", normalised, norm_coefficients);
  }
  add("linear_group", linear_group_cases(),
      [](auto& s, const LinearGroupCase& k) { linear_group(s, k, Pass::forward); });
  add("linear_group_backward", linear_group_cases(),
      [](auto& s, const LinearGroupCase& k) { linear_group(s, k, Pass::backward); });
  add("time_projections", time_projections_cases(), time_projections);
  add("ddim_update", ddim_cases(), ddim_update);
  add("adamw", adamw_cases(), adamw);
  add("normal", size_cases(), normal);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace diffscm::kernels

int main(int argc, char** argv) {
  try {
    return diffscm::kernels::run(argc, argv);
  } catch (const diffscm::Error& e) {
    fmt::print(stderr, "bench_operators: {}\n", e.what());
    return 2;
  }
}
