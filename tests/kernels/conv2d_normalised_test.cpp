// Convolution of what group norm and SiLU make of its input, by the coefficients of
// norm_coefficients_bf16: both operators of target emu and cuda against double references.
#include <cmath>
#include <cstdlib>

#include "tests/conv_cases.h"
#include "tests/kernels/conv2d_problem.h"
#include "tests/kernels/conv2d_reference.h"
#include "tests/kernels/support.h"
#include "tests/op_cases.h"
#include "tests/reference.h"

namespace diffscm::kernels {
namespace {

using namespace test;

Floats coefficients_of(const ConvShape& s) {
  return random_floats(s.n * 2 * s.c(), 9);
}

Array<bf16> normalised(const ConvProblem<bf16>& p, const float* coefficients, bool extras) {
  auto y = p.d.output<bf16>(p.outputs());
  p.d.table.conv2d_normalised_bf16(
      {{p.s, p.x0, p.x1, p.weight, nullptr, extras ? p.bias.data() : nullptr,
        extras ? p.residual.data() : nullptr, y},
       coefficients});
  return y;
}

// What the filter sees, [N, H, W, C]: a convolution whose filter is 1 at its centre, for k = c.
Floats seen(const Device& d, const ConvShape& shape, const float* coefficients) {
  ConvShape s = shape;
  s.k = s.c();
  s.stride = 1;
  s.upsample = false;
  const ConvProblem<bf16> p(d, s);
  Floats identity(p.weight.size());
  for (int64_t k = 0; k < s.k; ++k) identity[((k * s.r + s.r / 2) * s.s + s.s / 2) * s.k + k] = 1;
  const auto weight = d.input<bf16>(identity);
  auto y = d.output<bf16>(p.outputs());
  d.table.conv2d_normalised_bf16(
      {{s, p.x0, p.x1, weight, nullptr, nullptr, nullptr, y}, coefficients});
  return y.floats();
}

Doubles expected_seen(const ConvProblem<bf16>& p, const Floats& coefficients) {
  const int64_t c = p.s.c(), pixels = p.s.h * p.s.w;
  const Floats x = p.concatenated();
  Doubles y;
  for (int64_t i = 0; i < static_cast<int64_t>(x.size()); ++i) {
    const int64_t at = i / c / pixels * 2 * c + i % c;
    const double z = double{coefficients[at]} * x[i] + coefficients[at + c];
    y.push_back(z / (1 + std::exp(-z)));
  }
  return y;
}

// The strip's tiles (256x32, 256x64 and 128x64 from four of them on, on emu; 64x32), several images
// and seams in a strip, groups of channels that are not full; then what is not for the strip.
std::vector<ConvCase> cases() {
  std::vector<ConvCase> all;
  for (const ConvShape& s :
       {conv_shape(2, 5, 7, 8, 0, 8, 3), conv_shape(3, 5, 3, 24, 16, 32, 3),
        conv_shape(2, 28, 28, 32, 0, 32, 3), conv_shape(2, 14, 14, 64, 32, 64, 3),
        conv_shape(1, 7, 7, 40, 24, 72, 3), conv_shape(9, 4, 4, 32, 0, 32, 3),
        conv_shape(5, 14, 14, 16, 8, 40, 3), conv_shape(150, 1, 2, 8, 0, 8, 3),
        conv_shape(1100, 1, 1, 8, 0, 40, 3), conv_shape(1, 1, 1, 8, 0, 8, 3),
        conv_shape(2, 3, 33, 8, 0, 8, 3), conv_shape(1, 6, 4, 16, 8, 136, 3),
        conv_shape(2, 5, 7, 17, 3, 21, 1), conv_shape(2, 5, 6, 8, 0, 16, 3, 2),
        conv_shape(2, 3, 4, 16, 0, 8, 3, 1, true)})
    all.push_back({s});
  return all;
}

TARGET_TEST_ON("emu cuda", Conv2d, NormalisedMatchesReference) {
  for (const auto& [s, name, timed] : d.affordable(cases())) {
    const ConvProblem<bf16> p(d, s);
    const Floats values = coefficients_of(s);
    const auto coefficients = d.input(values);
    const Floats x = seen(d, s, coefficients);
    expect_close(x, expected_seen(p, values), 3e-6, name + " seen", kRounding<bf16>);
    const Floats weight = p.weight.floats();
    expect_close(normalised(p, coefficients, false), reference::conv2d(s, x, weight, {}, {}), 4e-6,
                 name);
    expect_close(normalised(p, coefficients, true),
                 reference::conv2d(s, x, weight, p.bias.floats(), p.residual.floats()), 4e-6,
                 name + " with bias and residual");
  }
}

// Tiles are wide where there are enough of them: the same bits as in two steps.
TARGET_TEST_ON("cuda", Conv2d, NormalisedLargeBatchIsThatInTwoSteps) {
  for (const ConvShape& s :
       {conv_shape(64, 28, 28, 32, 0, 32, 3), conv_shape(90, 14, 14, 40, 24, 64, 3)}) {
    const ConvProblem<bf16> p(d, s);
    const auto coefficients = d.input(coefficients_of(s));
    const Floats x = seen(d, s, coefficients);
    Floats halves[2];
    for (size_t i = 0; i < x.size(); ++i)
      halves[static_cast<int64_t>(i) % s.c() >= s.c0].push_back(x[i]);
    const auto x0 = d.input<bf16>(halves[0]), x1 = d.input<bf16>(halves[1]);
    auto y = d.output<bf16>(p.outputs());
    d.table.conv2d_bf16({s, x0, x1, p.weight, nullptr, p.bias, p.residual, y});
    expect_same_bits(normalised(p, coefficients, true), y, ConvCase::name_of(s));
  }
}

// Arrays that miss the alignment of vectors do not reach the strip.
TARGET_TEST_ON("emu cuda", Conv2d, NormalisedOfAnyAlignment) {
  const ConvShape s = conv_shape(3, 5, 3, 24, 16, 32, 3);
  const Floats values = coefficients_of(s);
  d.offset = 1;
  const ConvProblem<bf16> p(d, s);
  const auto coefficients = d.input(values);
  const Floats x = seen(d, s, coefficients);
  expect_close(normalised(p, coefficients, false),
               reference::conv2d(s, x, p.weight.floats(), {}, {}), 4e-6, "misaligned");
}

// An image's result does not depend on those beside it, whose pixels share its strips.
TARGET_TEST_ON("emu cuda", Conv2d, NormalisedBitsDoNotDependOnBatch) {
  const ConvShape all = conv_shape(5, 7, 7, 16, 8, 32, 3);
  const ConvProblem<bf16> p(d, all);
  const auto coefficients = d.input(coefficients_of(all));
  const Floats together = normalised(p, coefficients, true).floats();
  ConvShape one = all;
  one.n = 1;
  for (int64_t n = 0; n < all.n; ++n) {
    auto y = d.output<bf16>(p.outputs() / all.n);
    d.table.conv2d_normalised_bf16({{one, p.x0 + n * 49 * 16, p.x1 + n * 49 * 8, p.weight, nullptr,
                                     p.bias, p.residual + n * 49 * 32, y},
                                    coefficients + n * 2 * 24});
    expect_same_bits(y.floats(), row(together, all.n, n), "image " + std::to_string(n));
  }
}

TARGET_TEST_ON("emu cuda", Conv2d, NormalisedNeedsCoefficients) {
  const ConvProblem<bf16> p(d, conv_shape(1, 2, 2, 8, 0, 8, 3));
  const auto coefficients = d.input(coefficients_of(p.s));
  EXPECT_NO_THROW(normalised(p, coefficients, true));
  EXPECT_THROW(normalised(p, nullptr, true), Error);
}

// A shortcut for a convolution, as a convolution of its own.
struct ShortcutProblem {
  ConvShape s;
  ConvProblem<bf16> p;

  ShortcutProblem(const Device& d, const ConvShape& of, int64_t c0, int64_t c1)
      : s(conv_shape(of.n, of.p(), of.q(), c0, c1, of.k, 1)), p(d, s) {}
  ConvShortcut args(bool bias) const {
    return {s.c0, s.c1, p.x0, p.x1, p.weight, bias ? p.bias.data() : nullptr};
  }
  Doubles expected(bool bias) const {
    return reference::conv2d(s, p.concatenated(), p.weight.floats(),
                             bias ? p.bias.floats() : Floats{}, {});
  }
};

struct ShortcutCase : ConvCase {
  int64_t c0, c1;
};

// By the strip: several tiles of a block (emu has four multiprocessors), of each size, rows and
// columns that no tile fills, channels short of 32, one and two tensors. Then what is done in two
// steps: a shortcut that is not in eights, and convolutions that are not for the strip.
std::vector<ShortcutCase> shortcut_cases() {
  return {{{conv_shape(2, 28, 28, 32, 0, 32, 3)}, 64, 32},
          {{conv_shape(3, 14, 14, 64, 0, 64, 3)}, 32, 0},
          {{conv_shape(5, 14, 14, 24, 0, 40, 3)}, 8, 32},
          {{conv_shape(9, 7, 7, 16, 8, 24, 3)}, 8, 40},
          {{conv_shape(1, 5, 7, 40, 0, 72, 3)}, 24, 16},
          {{conv_shape(1, 1, 1, 8, 0, 8, 3)}, 8, 0},
          {{conv_shape(150, 1, 2, 8, 0, 40, 3)}, 72, 8},
          {{conv_shape(2, 5, 7, 8, 0, 8, 3)}, 12, 3},
          {{conv_shape(2, 3, 33, 8, 0, 8, 3)}, 16, 0},
          {{conv_shape(2, 5, 6, 8, 0, 16, 3, 2)}, 8, 8}};
}

TARGET_TEST_ON("emu cuda", Conv2d, NormalisedWithAShortcutMatchesReference) {
  for (const ShortcutCase& k : d.affordable(shortcut_cases())) {
    const ConvShape& s = k.shape;
    const std::string name = k.name + " and " + std::to_string(k.c0) + "+" + std::to_string(k.c1);
    const ConvProblem<bf16> p(d, s);
    const ShortcutProblem cut(d, s, k.c0, k.c1);
    const auto coefficients = d.input(coefficients_of(s));
    const Floats x = seen(d, s, coefficients);
    for (const bool extras : {false, true}) {
      Doubles expected =
          reference::conv2d(s, x, p.weight.floats(), extras ? p.bias.floats() : Floats{}, {});
      const Doubles more = cut.expected(extras);
      for (size_t i = 0; i < expected.size(); ++i) expected[i] += more[i];
      auto y = d.output<bf16>(p.outputs());
      d.table.conv2d_normalised_bf16(
          {{s, p.x0, p.x1, p.weight, nullptr, extras ? p.bias.data() : nullptr, nullptr, y},
           coefficients,
           cut.args(extras)});
      // In two steps, bf16 lies between them.
      const bool joins =
          normalisation_joins(s) && (k.c0 | k.c1) % 8 == 0 && !std::getenv("DIFFSCM_CONV");
      expect_close(y, expected, joins ? 4e-6 : kRounding<bf16>, name);
    }
  }
}

// Images of a batch against each on its own, where tiles are narrow.
void expect_same_alone(const Device& d, const ConvShape& all, int64_t c0, int64_t c1) {
  const ConvProblem<bf16> p(d, all);
  const ShortcutProblem cut(d, all, c0, c1);
  const auto coefficients = d.input(coefficients_of(all));
  const int64_t pixels = all.h * all.w;
  const auto run = [&](int64_t n, int64_t first) {
    ConvShape s = all;
    s.n = n;
    auto y = d.output<bf16>(n * pixels * s.k);
    const int64_t before = first * pixels;
    ConvShortcut shortcut = cut.args(true);
    shortcut.x0 += before * c0;
    shortcut.x1 += before * c1;
    d.table.conv2d_normalised_bf16(
        {{s, p.x0 + before * s.c0, p.x1 + before * s.c1, p.weight, nullptr, p.bias, nullptr, y},
         coefficients + first * 2 * s.c(),
         shortcut});
    return y.floats();
  };
  const Floats together = run(all.n, 0);
  for (const int64_t n : {int64_t{0}, all.n / 2, all.n - 1})
    expect_same_bits(run(1, n), row(together, all.n, n), "image " + std::to_string(n));
}

TARGET_TEST_ON("emu cuda", Conv2d, NormalisedWithAShortcutBitsDoNotDependOnBatch) {
  expect_same_alone(d, conv_shape(24, 7, 7, 16, 8, 64, 3), 40, 8);
}

// As many as have wide tiles on a GPU.
TARGET_TEST_ON("cuda", Conv2d, NormalisedWithAShortcutBitsDoNotDependOnLargeBatch) {
  expect_same_alone(d, conv_shape(64, 28, 28, 24, 8, 32, 3), 64, 32);
  expect_same_alone(d, conv_shape(90, 14, 14, 40, 24, 64, 3), 24, 8);
}

TARGET_TEST_ON("emu cuda", Conv2d, NormalisedRejectsBadShortcuts) {
  const ConvProblem<bf16> p(d, conv_shape(1, 2, 2, 8, 0, 8, 3));
  const ShortcutProblem cut(d, p.s, 8, 8);
  const auto coefficients = d.input(coefficients_of(p.s));
  const auto with = [&](auto change) {
    auto y = d.output<bf16>(p.outputs());
    NormalisedConv2dArgs args{
        {p.s, p.x0, p.x1, p.weight, nullptr, p.bias, nullptr, y}, coefficients, cut.args(true)};
    change(args);
    d.table.conv2d_normalised_bf16(args);
  };
  EXPECT_NO_THROW(with([](NormalisedConv2dArgs&) {}));
  EXPECT_THROW(with([&](NormalisedConv2dArgs& a) { a.conv.residual = p.residual; }), Error);
  EXPECT_THROW(with([](NormalisedConv2dArgs& a) { a.shortcut.x1 = nullptr; }), Error);
  EXPECT_THROW(with([](NormalisedConv2dArgs& a) { a.shortcut.c1 = 0; }), Error);
  EXPECT_THROW(with([](NormalisedConv2dArgs& a) { a.shortcut.c0 = 0; }), Error);
  EXPECT_THROW(with([](NormalisedConv2dArgs& a) { a.shortcut.weight = nullptr; }), Error);
}

struct NormArrays {
  Array<const bf16> x0, x1;
  Array<const float> gamma, beta, scale_shift;
  NormCoefficientsArgs args;

  NormArrays(const Device& d, const GroupNormCase& k)
      : x0(d.input<bf16>(random_floats(k.n * k.hw * k.c0, 1, 1, k.offset))),
        x1(d.input<bf16>(random_floats(k.n * k.hw * k.c1, 2, 2, k.offset))),
        gamma(d.input(random_floats(k.c(), 3, 0.5f, 1))),
        beta(d.input(random_floats(k.c(), 4, 0.5f))),
        scale_shift(d.input(k.scale_shift ? random_floats(k.n * 2 * k.c(), 5, 0.5f) : Floats{})),
        args{k.n, k.hw, k.c0, k.c1, k.groups, 1e-5f, x0, x1, gamma, beta, scale_shift, nullptr} {}

  reference::GroupNorm in_double() const {
    return reference::group_norm_of(args, false, x0.doubles(), x1.doubles(), gamma.doubles(),
                                    beta.doubles(), scale_shift.doubles());
  }
  // By a, b of the reference at x = 0 and x = 1: the mean and the deviation are those of x.
  Doubles expected() const {
    const int64_t c = args.c0 + args.c1, d = c / args.groups;
    const reference::GroupNorm s = in_double();
    const reference::GroupNormResult r = reference::group_norm(s);
    Doubles out;
    for (int64_t n = 0; n < args.n; ++n) {
      Doubles b;
      for (int64_t i = 0; i < c; ++i) {
        const int64_t g = n * args.groups + i / d;
        const double a = r.rstd[g] * s.gamma[i] * (1 + s.scale(n, i));
        out.push_back(a);
        b.push_back(s.beta[i] * (1 + s.scale(n, i)) + s.shift(n, i) - r.mean[g] * a);
      }
      out.insert(out.end(), b.begin(), b.end());
    }
    return out;
  }
};

Array<float> run(const Device& d, NormCoefficientsArgs args) {
  auto out = d.output(args.n * 2 * (args.c0 + args.c1));
  args.coefficients = out;
  d.table.norm_coefficients_bf16(args);
  return out;
}

std::vector<GroupNormCase> norm_cases(const Device& d) {
  std::vector<GroupNormCase> cases;
  for (const GroupNormCase& k : d.affordable(group_norm_cases(), 2))
    if (k.dropout == 0 && k.c0 % 8 == 0 && k.c1 % 8 == 0 && k.c() / k.groups <= 256)
      cases.push_back(k);
  cases.push_back({"straddling_seam", 3, 15, 40, 24, 32, false, true});
  cases.push_back({"groups_of_255", 2, 3, 1784, 256, 8, false, true});
  cases.push_back({"group_of_256", 2, 9, 248, 8, 1, false, false});
  return cases;
}

TARGET_TEST_ON("emu cuda", NormCoefficients, MatchReference) {
  for (const GroupNormCase& k : norm_cases(d)) {
    const NormArrays a(d, k);
    expect_close(run(d, a.args), a.expected(), k.tolerance, k.name);
  }
}

// The statistics that the backward wants; who does not ask for them gets the same coefficients.
TARGET_TEST_ON("emu cuda", NormCoefficients, StatisticsMatchReference) {
  for (const GroupNormCase& k : norm_cases(d)) {
    const NormArrays a(d, k);
    auto mean = d.output(k.n * k.groups), rstd = d.output(k.n * k.groups);
    NormCoefficientsArgs args = a.args;
    args.mean = mean;
    args.rstd = rstd;
    expect_same_bits(run(d, args), run(d, a.args), k.name);
    const reference::GroupNormResult expected = reference::group_norm(a.in_double());
    expect_close(rstd, expected.rstd, k.tolerance, std::string(k.name) + " rstd");
    // A mean may be nearly 0; that of values one deviation higher is not.
    Floats above = mean.floats();
    Doubles expected_above = expected.mean;
    for (size_t i = 0; i < above.size(); ++i) {
      above[i] += static_cast<float>(1 / expected.rstd[i]);
      expected_above[i] += 1 / expected.rstd[i];
    }
    expect_close(above, expected_above, k.tolerance, std::string(k.name) + " mean");
  }
}

TARGET_TEST_ON("emu cuda", NormCoefficients, BitsDoNotDependOnBatch) {
  for (const GroupNormCase& k : norm_cases(d)) {
    const NormArrays a(d, k);
    const Floats all = run(d, a.args).floats();
    NormCoefficientsArgs last = a.args;
    last.n = 1;
    last.x0 += (k.n - 1) * k.hw * k.c0;
    if (last.x1) last.x1 += (k.n - 1) * k.hw * k.c1;
    if (last.scale_shift) last.scale_shift += (k.n - 1) * 2 * k.c();
    expect_same_bits(run(d, last).floats(), row(all, k.n, k.n - 1), k.name);
  }
}

// The shift is a channel's first pixel: here it is as far from the others as one can be.
TARGET_TEST_ON("emu cuda", NormCoefficients, FirstPixelFarFromTheOthers) {
  NormArrays a(d, {"", 1, 784, 8, 0, 8, false, false});
  Floats values = a.x0.floats();
  for (int64_t c = 0; c < 8; ++c) values[c] = 1e4f;
  a.x0 = d.input<bf16>(values);
  a.args.x0 = a.x0;
  expect_close(run(d, a.args), a.expected(), 1e-4, "outlier");
}

TARGET_TEST_ON("emu cuda", NormCoefficients, NanIsNotHidden) {
  NormArrays a(d, {"", 2, 9, 32, 0, 8, false, false});
  Floats values = a.x0.floats();
  values[9 * 32 - 28] = std::numeric_limits<float>::quiet_NaN();  // the last pixel's channel 4
  a.x0 = d.input<bf16>(values);
  a.args.x0 = a.x0;
  const Floats out = run(d, a.args).floats();
  EXPECT_TRUE(std::isnan(out[4]) && std::isnan(out[7]) && std::isnan(out[32 + 4]));
  EXPECT_FALSE(std::isnan(out[8]) || std::isnan(out[64 + 4]));
}

TARGET_TEST_ON("emu cuda", NormCoefficients, RejectBadArguments) {
  const NormArrays a(d, {"", 1, 4, 16, 0, 4, false, false});
  const auto with = [&](auto change) {
    auto out = d.output(32);
    NormCoefficientsArgs args = a.args;
    args.coefficients = out;
    change(args);
    d.table.norm_coefficients_bf16(args);
  };
  EXPECT_NO_THROW(with([](NormCoefficientsArgs&) {}));
  EXPECT_NO_THROW(with([](NormCoefficientsArgs& g) { g.n = 0; }));
  EXPECT_THROW(with([](NormCoefficientsArgs& g) { g.n = -1; }), Error);
  EXPECT_THROW(with([](NormCoefficientsArgs& g) { g.groups = 3; }), Error);
  EXPECT_THROW(with([](NormCoefficientsArgs& g) { g.c0 = 12; }), Error);
  EXPECT_THROW(with([](NormCoefficientsArgs& g) { g.c0 = 512, g.groups = 1; }), Error);
  EXPECT_THROW(with([](NormCoefficientsArgs& g) { g.c1 = 8; }), Error);
  EXPECT_THROW(with([](NormCoefficientsArgs& g) { g.hw = 0; }), Error);
  EXPECT_THROW(with([](NormCoefficientsArgs& g) { g.gamma = nullptr; }), Error);
  EXPECT_THROW(with([](NormCoefficientsArgs& g) { g.coefficients = nullptr; }), Error);
  EXPECT_THROW(with([](NormCoefficientsArgs& g) { ++g.x0; }), Error);
}

}  // namespace
}  // namespace diffscm::kernels
