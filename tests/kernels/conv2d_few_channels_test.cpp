// The weight gradient of a network's first and last convolution, of f32 and bf16, against plain
// loops in double precision.
#include "kernels/conv2d.h"
#include "tests/kernels/conv2d_reference.h"
#include "tests/kernels/support.h"
#include "tests/reference.h"

namespace diffscm::kernels {
namespace {

using namespace test;

struct Case {
  int64_t n, h, w, few, many;
};

// Fewer and more pixels than a thread, half a row, a band and a block take.
constexpr Case kCases[] = {{1, 1, 1, 1, 8},   {2, 5, 7, 1, 32},   {1, 17, 9, 2, 40},
                           {3, 16, 8, 3, 16}, {2, 33, 13, 4, 8},  {1, 4, 21, 8, 64},
                           {550, 2, 3, 1, 8}, {2, 28, 28, 1, 32}, {1, 3, 640, 1, 8}};

template <class T, class X>
void check(const Device& d, const Case& k) {
  constexpr bool kFirst = sizeof(X) == sizeof(float);
  ConvShape s{.n = k.n, .h = k.h, .w = k.w, .c0 = k.many, .k = k.few};
  if (kFirst) std::swap(s.c0, s.k);
  const std::string name = fmt::format("{} images of {}x{}, {} to {}{}", s.n, s.h, s.w, s.c0, s.k,
                                       d.offset > 0 ? ", misaligned" : "");
  const auto x = d.input<X>(random_floats(s.n * s.h * s.w * s.c0, 1));
  const auto dy = d.input<T>(random_floats(s.n * s.h * s.w * s.k, 2));
  const auto run = [&](bool with_bias) {
    auto dweight = d.output(s.k * 9 * s.c0), dbias = d.output(with_bias ? s.k : 0);
    d.table.of(BasicConv2dBackwardWeightArgs<T, X>{})({s, x, nullptr, dy, dweight, dbias});
    return std::vector<Floats>{dweight.floats(), dbias.floats()};
  };
  const auto got = run(true);
  expect_close(got[0], reference::conv2d_backward_weight(s, x.floats(), dy.floats()), 4e-6,
               name + " dweight");
  const Doubles want = reference::column_sum(s.n * s.h * s.w, s.k, dy.doubles());
  for (int64_t i = 0; i < s.k; ++i)
    EXPECT_NEAR(got[1][i], want[i], 4e-6 * std::sqrt(1.0 + s.n * s.h * s.w)) << name << i;
  expect_same_bits(run(false)[0], got[0], name + " without dbias");
  expect_reproducible(
      d, [&] { return run(true); }, name);
}

TARGET_TEST_ON("emu cuda", Conv2dFewChannels, WeightGradientMatchesReference) {
  for (const int64_t offset : {0, 1}) {
    d.offset = offset;
    for (const Case& k : kCases) {
      if (offset > 0 && k.w == 640) continue;
      check<float, bf16>(d, k);
      check<bf16, float>(d, k);
    }
  }
}

TARGET_TEST_ON("emu cuda", Conv2dFewChannels, OtherShapesAreErrors) {
  const auto f = d.input(Floats(512));
  const auto b = d.input<bf16>(Floats(512));
  auto dweight = d.output(1024);
  const auto last = [&](ConvShape s) {
    d.table.conv2d_backward_weight_f32_bf16({s, b, nullptr, f, dweight, nullptr});
  };
  const ConvShape good{.n = 1, .h = 4, .w = 4, .c0 = 8, .k = 2};
  EXPECT_NO_THROW(last(good));
  ConvShape many = good, odd = good, one = good, strided = good, enlarged = good;
  many.k = 9;
  odd.c0 = 9;
  one.r = one.s = 1;
  strided.stride = 2;
  enlarged.upsample = true;
  for (const ConvShape& s : {many, odd, one, strided, enlarged}) EXPECT_THROW(last(s), Error);
  EXPECT_THROW(d.table.conv2d_backward_weight_bf16_f32({good, f, nullptr, b, dweight, nullptr}),
               Error);
}

}  // namespace
}  // namespace diffscm::kernels
