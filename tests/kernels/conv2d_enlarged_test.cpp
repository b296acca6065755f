// Convolution of an enlarged image in bf16 as four of the stored one
// (kernels/cuda/conv2d_enlarged.h): the sums of weights against sums in double, and results against
// loops over 2x2 taps in double, which read sums rounded as the contract allows. That nine taps
// give the same where no sum is rounded is shown by conv2d_test.cpp.
#include "tests/conv_cases.h"
#include "tests/kernels/conv2d_problem.h"
#include "tests/kernels/support.h"

namespace diffscm::kernels {
namespace {

using namespace test;

// The tap, first or second, of an output row or column of this parity that filter row r is part of:
// row r of output row `odd` reads large row odd + r - 1, half of which is the stored row, and the
// first tap reads stored row odd - 1.
int64_t tap_of(int64_t r, int64_t odd) {
  return (odd + r + 1) / 2 - odd;
}

// A 3x3 filter and phases [K, odd y, odd x, 2, 2, C]: calls visit(weight index, phase index).
template <class F>
void for_each_weight(const ConvShape& s, F&& visit) {
  const int64_t c = s.c();
  for (int64_t k = 0; k < s.k; ++k)
    for (int64_t r = 0; r < 3; ++r)
      for (int64_t t = 0; t < 3; ++t)
        for (int64_t phase = 0; phase < 4; ++phase) {
          const int64_t tap = tap_of(r, phase / 2) * 2 + tap_of(t, phase % 2);
          for (int64_t i = 0; i < c; ++i)
            visit(((k * 3 + r) * 3 + t) * c + i, ((k * 4 + phase) * 4 + tap) * c + i);
        }
}

Doubles sums_of(const ConvShape& s, const Floats& weight) {
  Doubles sums(16 * s.k * s.c());
  for_each_weight(s, [&](int64_t from, int64_t to) { sums[to] += weight[from]; });
  return sums;
}

// Calls visit(x index, sums index, y index) for every product: output (p, q) reads stored rows
// p / 2 - 1 + p % 2 and the next, and columns likewise.
template <class F>
void for_each_product(const ConvShape& s, F&& visit) {
  const int64_t c = s.c();
  for (int64_t out = 0; out < s.n * s.p() * s.q() * s.k; ++out) {
    const int64_t k = out % s.k, q = out / s.k % s.q(), p = out / s.k / s.q() % s.p();
    const int64_t n = out / s.k / s.q() / s.p(), phase = p % 2 * 2 + q % 2;
    for (int64_t tap = 0; tap < 4; ++tap) {
      const int64_t h = p / 2 - 1 + p % 2 + tap / 2, w = q / 2 - 1 + q % 2 + tap % 2;
      if (h < 0 || h >= s.h || w < 0 || w >= s.w) continue;
      for (int64_t i = 0; i < c; ++i)
        visit(((n * s.h + h) * s.w + w) * c + i, ((k * 4 + phase) * 4 + tap) * c + i, out);
    }
  }
}

Doubles expected(const ConvProblem<bf16>& problem, const Floats& sums, bool extras) {
  const Floats x = problem.x0.floats(), bias = problem.bias.floats(),
               residual = problem.residual.floats();
  Doubles y(problem.outputs());
  if (extras)
    for (size_t i = 0; i < y.size(); ++i) y[i] = double{bias[i % problem.s.k]} + residual[i];
  for_each_product(problem.s, [&](int64_t in, int64_t weight, int64_t out) {
    y[out] += double{x[in]} * sums[weight];
  });
  return y;
}

Doubles expected_backward(const ConvProblem<bf16>& problem, const Floats& sums) {
  const Floats dy = problem.dy.floats();
  Doubles dx(problem.x0.size());
  for_each_product(problem.s, [&](int64_t in, int64_t weight, int64_t out) {
    dx[in] += double{dy[out]} * sums[weight];
  });
  return dx;
}

// Of random weights, whose sums bf16 does not hold.
struct Problem : ConvProblem<bf16> {
  explicit Problem(const Device& d, const ConvShape& shape) : ConvProblem<bf16>(d, shape) {
    weight = d.input<bf16>(random_floats(weight.size(), 3));
  }
  // Empty where the rung that DIFFSCM_CONV asks for reads the weight as it is.
  Array<bf16> packed() const {
    int64_t elements = -1;
    d.table.conv2d_pack_bf16({s, false, weight, nullptr, &elements});
    auto sums = d.output<bf16>(elements);
    if (elements > 0) d.table.conv2d_pack_bf16({s, false, weight, sums, nullptr});
    return sums;
  }
};

// The strip's tiles and, of few images on many multiprocessors, its small one; several tiles of a
// block, several images in a strip, images of one pixel, channels short of 32 and past 64. Then
// images too wide for the strip.
std::vector<ConvCase> cases() {
  std::vector<ConvCase> all;
  for (const ConvShape& s :
       {conv_shape(1, 1, 1, 8, 0, 8, 3, 1, true), conv_shape(70, 1, 1, 8, 0, 24, 3, 1, true),
        conv_shape(150, 1, 2, 8, 0, 8, 3, 1, true), conv_shape(2, 7, 7, 64, 0, 64, 3, 1, true),
        conv_shape(1, 5, 3, 24, 0, 40, 3, 1, true), conv_shape(2, 14, 14, 40, 0, 32, 3, 1, true),
        conv_shape(1, 3, 4, 72, 0, 136, 3, 1, true), conv_shape(2, 10, 10, 24, 0, 40, 3, 1, true),
        conv_shape(1, 2, 32, 8, 0, 16, 3, 1, true), conv_shape(1, 3, 33, 8, 0, 16, 3, 1, true)})
    all.push_back({s});
  return all;
}

TARGET_TEST_ON("emu cuda", Conv2d, EnlargedWeightsAreSumsRoundedOnce) {
  const Problem p(d, conv_shape(1, 2, 2, 24, 0, 16, 3, 1, true));
  const Array<bf16> packed = p.packed();
  if (packed.size() == 0) GTEST_SKIP() << "by a rung that sums no weights";
  const Doubles sums = sums_of(p.s, p.weight.floats());
  const Floats actual = packed.floats();
  ASSERT_EQ(actual.size(), sums.size());
  for (size_t i = 0; i < sums.size(); ++i)
    EXPECT_EQ(actual[i], to_float(to_bf16(static_cast<float>(sums[i])))) << i;
}

TARGET_TEST_ON("emu cuda", Conv2d, EnlargedMatchesSumsOfWeights) {
  for (const auto& [s, name, timed] : d.affordable(cases())) {
    const Problem p(d, s);
    const Array<bf16> packed = p.packed();
    if (packed.size() == 0) GTEST_SKIP() << "by a rung that sums no weights";
    const Floats sums = packed.floats();
    expect_close(p.forward(false, packed), expected(p, sums, false), 4e-6, name);
    expect_close(p.forward(true, packed), expected(p, sums, true), 4e-6,
                 name + " with bias and residual");
    expect_same_bits(p.forward(true), p.forward(true, packed), name + " packed on the spot");
    const auto backward = p.backward_input(packed);
    expect_close(backward.dx0, expected_backward(p, sums), 4e-6, name + " backward");
    expect_same_bits(p.backward_input().dx0, backward.dx0, name + " backward, packed on the spot");
  }
}

// Packed weights are what is read, not made again: of twice as large ones, results are twice as
// large.
TARGET_TEST_ON("emu cuda", Conv2d, EnlargedReadsPackedWeights) {
  const Problem p(d, conv_shape(2, 7, 7, 16, 0, 32, 3, 1, true));
  const Array<bf16> packed = p.packed();
  if (packed.size() == 0) GTEST_SKIP() << "by a rung that sums no weights";
  const auto doubled = [](Floats values) {
    for (float& value : values) value *= 2;
    return values;
  };
  const auto twice = d.input<bf16>(doubled(packed.floats()));
  expect_same_bits(p.forward(false, twice).floats(), doubled(p.forward(false, packed).floats()),
                   "twice the weights");
  expect_same_bits(p.backward_input(twice).dx0.floats(),
                   doubled(p.backward_input(packed).dx0.floats()), "backward");
}

// An image's result does not depend on those beside it, whose pixels share its strips.
TARGET_TEST_ON("emu cuda", Conv2d, EnlargedBitsDoNotDependOnBatch) {
  const ConvShape all = conv_shape(5, 7, 7, 16, 0, 32, 3, 1, true);
  const Problem p(d, all);
  const Floats together = p.forward(true).floats();
  ConvShape one = all;
  one.n = 1;
  for (int64_t n = 0; n < all.n; ++n) {
    auto y = d.output<bf16>(p.outputs() / all.n);
    d.table.conv2d_bf16({one, p.x0 + n * 49 * 16, nullptr, p.weight, nullptr, p.bias,
                         p.residual + n * 196 * 32, y});
    expect_same_bits(y.floats(), row(together, all.n, n), "image " + std::to_string(n));
  }
}

}  // namespace
}  // namespace diffscm::kernels
