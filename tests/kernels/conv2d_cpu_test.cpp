// What the cpu target's convolution promises beyond the contract that conv2d_test.cpp checks: every
// rung and every instruction set, bits that do not depend on threads or batch, one packed weight
// for all.
#include <gtest/gtest.h>
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "kernels/cpu/conv2d_rungs.h"
#include "kernels/cpu/table.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/error.h"
#include "tests/conv_cases.h"
#include "tests/kernels/conv2d_reference.h"

namespace diffscm::kernels::cpu {
namespace {

using Floats = std::vector<float>;

Floats random_floats(int64_t count, uint64_t seed) {
  Floats out(count);
  uint64_t state = seed * 0x9E3779B97F4A7C15u + 1;
  for (float& x : out) {  // sum of four uniforms: near enough to normal
    float sum = -2.0f;
    for (int i = 0; i < 4; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      sum += static_cast<float>(state >> 40) / static_cast<float>(1 << 24);
    }
    x = sum * 1.7f;
  }
  return out;
}

Floats poison(int64_t count) {
  return Floats(count, std::numeric_limits<float>::quiet_NaN());
}

// One shape with its data; x is concatenated, x0 and x1 are what the library is given.
struct Problem {
  ConvShape s;
  Floats x, x0, x1, weight, bias, residual, dy;

  explicit Problem(const ConvShape& shape) : s(shape) {
    const int64_t pixels = s.n * s.h * s.w, outputs = s.n * s.p() * s.q() * s.k;
    x = random_floats(pixels * s.c(), 1);
    for (int64_t i = 0; i < pixels * s.c(); ++i) (i % s.c() < s.c0 ? x0 : x1).push_back(x[i]);
    weight = random_floats(s.k * s.r * s.s * s.c(), 2);
    bias = random_floats(s.k, 3);
    residual = random_floats(outputs, 4);
    dy = random_floats(outputs, 5);
  }
  const float* second() const { return s.c1 > 0 ? x1.data() : nullptr; }

  Floats packed(bool backward, const Selection& selection) const {
    int64_t floats = -1;
    run_conv2d_pack({s, backward, weight.data(), nullptr, &floats}, selection);
    EXPECT_GE(floats, 0);
    Floats out = poison(floats);
    if (floats > 0) run_conv2d_pack({s, backward, weight.data(), out.data(), nullptr}, selection);
    return out;
  }

  Floats forward(const Selection& selection, bool extras, bool pack = false) const {
    Floats y = poison(s.n * s.p() * s.q() * s.k);
    const Floats w = pack ? packed(false, selection) : Floats();
    run_conv2d({s, x0.data(), second(), weight.data(), w.empty() ? nullptr : w.data(),
                extras ? bias.data() : nullptr, extras ? residual.data() : nullptr, y.data()},
               selection);
    return y;
  }

  // Interleaved again as the concatenated image.
  Floats backward_input(const Selection& selection, bool pack = false) const {
    Floats dx0 = poison(x0.size()), dx1 = poison(x1.size()), dx;
    const Floats w = pack ? packed(true, selection) : Floats();
    run_conv2d_backward_input({s, dy.data(), weight.data(), w.empty() ? nullptr : w.data(),
                               dx0.data(), s.c1 > 0 ? dx1.data() : nullptr},
                              selection);
    for (int64_t i = 0; i < s.n * s.h * s.w; ++i) {
      dx.insert(dx.end(), dx0.begin() + i * s.c0, dx0.begin() + (i + 1) * s.c0);
      dx.insert(dx.end(), dx1.begin() + i * s.c1, dx1.begin() + (i + 1) * s.c1);
    }
    return dx;
  }

  // dweight, then dbias.
  Floats backward_weight(const Selection& selection) const {
    Floats g = poison(weight.size() + s.k);
    run_conv2d_backward_weight(
        {s, x0.data(), second(), dy.data(), g.data(), g.data() + weight.size()}, selection);
    return g;
  }
};

// Largest difference relative to the largest expected value; NaN anywhere gives infinity.
double error(const Floats& got, const std::vector<double>& want) {
  EXPECT_EQ(got.size(), want.size());
  double difference = 0.0, scale = 0.0;
  for (size_t i = 0; i < got.size(); ++i) {
    if (!std::isfinite(got[i])) return std::numeric_limits<double>::infinity();
    difference = std::max(difference, std::abs(got[i] - want[i]));
    scale = std::max(scale, std::abs(want[i]));
  }
  return difference / scale;
}

std::string describe(const ConvShape& s, const Selection& selection) {
  return fmt::format("n={} {}x{} c0={} c1={} k={} r={} stride={} upsample={} rung={} isa={}", s.n,
                     s.h, s.w, s.c0, s.c1, s.k, s.r, s.stride, s.upsample,
                     selection.rung ? static_cast<int>(*selection.rung) : -1,
                     static_cast<int>(selection.isa));
}

std::vector<Isa> isas() {
  std::vector<Isa> out;
  for (Isa isa : {Isa::kV1, Isa::kV3, Isa::kV4})
    if (isa_supported(isa)) out.push_back(isa);
  return out;
}

struct Expected {
  std::vector<double> plain, full;  // forward without and with bias and residual
  std::vector<double> dx, dweight, dbias;

  explicit Expected(const Problem& p)
      : plain(reference::conv2d(p.s, p.x, p.weight, {}, {})),
        full(reference::conv2d(p.s, p.x, p.weight, p.bias, p.residual)),
        dx(reference::conv2d_backward_input(p.s, p.weight, p.dy)),
        dweight(reference::conv2d_backward_weight(p.s, p.x, p.dy)),
        dbias(p.s.k) {
    for (size_t i = 0; i < p.dy.size(); ++i) dbias[i % p.s.k] += p.dy[i];
  }
};

void check(const Problem& problem, const Expected& want, const Selection& selection) {
  SCOPED_TRACE(describe(problem.s, selection));
  const double tolerance = rung_for(problem.s, selection) == Rung::kWinograd ? 2e-5 : 4e-6;
  EXPECT_LE(error(problem.forward(selection, false), want.plain), tolerance) << "forward";
  const Floats y = problem.forward(selection, true), dx = problem.backward_input(selection);
  EXPECT_LE(error(y, want.full), tolerance) << "forward, bias, residual";
  EXPECT_LE(error(dx, want.dx), tolerance) << "backward input";
  const Floats got = problem.backward_weight(selection);
  const auto split = got.begin() + problem.weight.size();
  EXPECT_LE(error(Floats(got.begin(), split), want.dweight), tolerance) << "dweight";
  EXPECT_LE(error(Floats(split, got.end()), want.dbias), tolerance) << "dbias";
  EXPECT_EQ(problem.forward(selection, true, true), y) << "packed";
  EXPECT_EQ(problem.backward_input(selection, true), dx) << "packed";
}

TEST(Conv2dCpu, EveryRungAndIsaMatchesTheReference) {
  for (const ConvShape& s : odd_conv_shapes()) {
    const Problem problem(s);
    const Expected want(problem);
    check(problem, want, {Rung::kNaive, Isa::kV1});
    for (Isa isa : isas()) {
      check(problem, want, {std::nullopt, isa});
      check(problem, want, {Rung::kDirect, isa});
      check(problem, want, {Rung::kWinograd, isa});
    }
  }
}

TEST(Conv2dCpu, WinogradStaysAccurateWithManyChannels) {
  for (const ConvShape& s :
       {conv_shape(2, 8, 8, 256, 0, 64, 3), conv_shape(2, 4, 4, 128, 128, 256, 3),
        conv_shape(1, 4, 4, 256, 0, 128, 3, 1, true)}) {
    const Problem problem(s);
    check(problem, Expected(problem), {Rung::kWinograd, best_isa()});
  }
}

TEST(Conv2dCpu, ThreadsDoNotChangeAResult) {
  const int threads = cpu::threads();
  for (const ConvShape& s :
       {conv_shape(5, 7, 9, 20, 12, 40, 3), conv_shape(1, 7, 7, 64, 0, 64, 3),
        conv_shape(5, 7, 9, 20, 0, 40, 3, 2), conv_shape(4, 5, 5, 18, 0, 33, 3, 1, true),
        conv_shape(40, 8, 8, 1, 0, 32, 3), conv_shape(7, 7, 7, 24, 40, 32, 1),
        conv_shape(40, 8, 8, 32, 0, 1, 3)}) {
    const Problem problem(s);
    for (Rung rung : {Rung::kDirect, Rung::kWinograd}) {
      const Selection selection{rung, best_isa()};
      SCOPED_TRACE(describe(s, selection));
      set_threads(1);
      const Floats y = problem.forward(selection, true), dx = problem.backward_input(selection);
      const Floats dw = problem.backward_weight(selection);
      for (int count : {2, 3, 7}) {
        set_threads(count);
        EXPECT_EQ(problem.forward(selection, true), y);
        EXPECT_EQ(problem.backward_input(selection), dx);
        EXPECT_EQ(problem.backward_weight(selection), dw);
      }
      set_threads(threads);
    }
  }
}

TEST(Conv2dCpu, ASampleDoesNotDependOnItsBatch) {
  for (const ConvShape& s :
       {conv_shape(7, 7, 9, 20, 12, 40, 3), conv_shape(7, 7, 7, 64, 0, 64, 3, 2),
        conv_shape(7, 4, 5, 18, 0, 33, 3, 1, true), conv_shape(7, 5, 5, 40, 9, 32, 1)}) {
    const Selection selection{std::nullopt, best_isa()};
    SCOPED_TRACE(describe(s, selection));
    const Problem all(s);
    ConvShape alone = s;
    alone.n = 1;
    Problem last(alone);
    last.x0.assign(all.x0.end() - last.x0.size(), all.x0.end());
    last.x1.assign(all.x1.end() - last.x1.size(), all.x1.end());
    last.dy.assign(all.dy.end() - last.dy.size(), all.dy.end());
    const Floats y = all.forward(selection, false), y1 = last.forward(selection, false);
    EXPECT_EQ(y1, Floats(y.end() - y1.size(), y.end()));
    const Floats dx = all.backward_input(selection), dx1 = last.backward_input(selection);
    EXPECT_EQ(dx1, Floats(dx.end() - dx1.size(), dx.end()));
  }
}

TEST(Conv2dCpu, OnePackedWeightServesEveryBatchAndResolution) {
  const Selection selection{std::nullopt, best_isa()};
  const Problem small(conv_shape(1, 3, 3, 24, 0, 32, 3)),
      large(conv_shape(9, 28, 30, 24, 0, 32, 3));
  ASSERT_EQ(small.weight, large.weight);
  EXPECT_EQ(small.packed(false, selection), large.packed(false, selection));
  EXPECT_EQ(small.packed(true, selection), large.packed(true, selection));
}

TEST(Conv2dCpu, ResidualMayBeTheOutput) {
  for (Rung rung : {Rung::kNaive, Rung::kDirect, Rung::kWinograd}) {
    for (const ConvShape& s :
         {conv_shape(2, 7, 6, 20, 0, 24, 3), conv_shape(2, 5, 5, 20, 0, 24, 1)}) {
      const Problem problem(s);
      const Selection selection{rung, best_isa()};
      Floats y = problem.residual;
      run_conv2d({s, problem.x0.data(), nullptr, problem.weight.data(), nullptr,
                  problem.bias.data(), y.data(), y.data()},
                 selection);
      EXPECT_EQ(y, problem.forward(selection, true)) << describe(s, selection);
    }
  }
}

TEST(Conv2dCpu, EnvironmentValuesAreParsedOrRefused) {
  EXPECT_FALSE(parse_selection("", "").rung.has_value());
  EXPECT_EQ(parse_selection("", "").isa, best_isa());
  EXPECT_EQ(parse_selection("winograd", "v1").rung, Rung::kWinograd);
  EXPECT_EQ(parse_selection("direct", "v1").isa, Isa::kV1);
  for (const char* conv : {"tiled", "mma", "mma-weights", "wgmma", "cudnn", "fast"})
    EXPECT_THROW(parse_selection(conv, ""), Error) << conv;
  EXPECT_THROW(parse_selection("", "v2"), Error);
}

TEST(Conv2dCpu, ForcedWinogradFallsToDirect) {
  const Selection forced{Rung::kWinograd, best_isa()};
  EXPECT_EQ(rung_for(conv_shape(1, 8, 8, 32, 0, 32, 3), forced), Rung::kWinograd);
  EXPECT_EQ(rung_for(conv_shape(1, 8, 8, 32, 0, 32, 1), forced), Rung::kDirect);
  EXPECT_EQ(rung_for(conv_shape(1, 8, 8, 32, 0, 32, 3, 2), forced), Rung::kDirect);
}

}  // namespace
}  // namespace diffscm::kernels::cpu
