// Group norm's coefficients and the moments that they are made of, which may be given: of targets
// emu and cuda against a double reference.
#include <cmath>

#include "tests/kernels/support.h"
#include "tests/op_cases.h"
#include "tests/reference_group_norm.h"

namespace diffscm::kernels {
namespace {

using namespace test;

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

  // By a, b of the reference at x = 0 and x = 1: the mean and the deviation are those of x.
  Doubles expected() const {
    const int64_t c = args.c0 + args.c1, d = c / args.groups;
    const reference::GroupNorm s =
        reference::group_norm_of(args, false, x0.doubles(), x1.doubles(), gamma.doubles(),
                                 beta.doubles(), scale_shift.doubles());
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

// Of x [n, hw, c] per sample and channel: mean, squared deviations.
Doubles expected_moments(const Doubles& x, int64_t n, int64_t hw, int64_t c) {
  Doubles moments;
  for (int64_t i = 0; i < n * c; ++i) {
    const auto at = [&](int64_t p) { return x[((i / c) * hw + p) * c + i % c]; };
    double mean = 0, squared = 0;
    for (int64_t p = 0; p < hw; ++p) mean += at(p) / static_cast<double>(hw);
    for (int64_t p = 0; p < hw; ++p) squared += std::pow(at(p) - mean, 2);
    moments.push_back(mean);
    moments.push_back(squared);
  }
  return moments;
}

// Means and squared deviations are of different sizes: each kind for itself. Means of many values
// are small beside them.
void expect_moments(const Floats& actual, const Doubles& expected, double tolerance,
                    const std::string& what) {
  for (size_t kind = 0; kind < 2; ++kind) {
    Floats a;
    Doubles e;
    for (size_t i = kind; i < expected.size(); i += 2)
      a.push_back(actual[i]), e.push_back(expected[i]);
    expect_close(a, e, kind ? tolerance : 4 * tolerance,
                 what + (kind ? " squared deviations" : " means"));
  }
}

TARGET_TEST_ON("emu cuda", NormCoefficients, MomentsMatchReference) {
  for (const GroupNormCase& k : norm_cases(d)) {
    const NormArrays a(d, k);
    auto m0 = d.output(2 * k.n * k.c0), m1 = d.output(2 * k.n * k.c1);
    NormCoefficientsArgs args = a.args;
    args.moments0.written = m0;
    args.moments1.written = m1;
    const Floats alone = run(d, a.args).floats();
    expect_same_bits(run(d, args).floats(), alone, k.name);
    expect_moments(m0.floats(), expected_moments(a.x0.doubles(), k.n, k.hw, k.c0), k.tolerance,
                   k.name);
    expect_moments(m1.floats(), expected_moments(a.x1.doubles(), k.n, k.hw, k.c1), k.tolerance,
                   k.name);
  }
}

// Made of either tensor by itself, in other groups, and of one sample at a time.
TARGET_TEST_ON("emu cuda", NormCoefficients, GivenMomentsGiveTheSameBits) {
  for (const GroupNormCase& k : norm_cases(d)) {
    const NormArrays a(d, k);
    const auto moments_of = [&](const bf16* x, int64_t c) {
      auto moments = d.output(2 * k.n * c);
      for (int64_t n = 0; n < k.n && c > 0; ++n) {
        NormCoefficientsArgs alone = a.args;
        alone.n = 1;
        alone.c0 = c;
        alone.c1 = 0;
        alone.groups = c / 8;
        alone.x0 = x + n * k.hw * c;
        alone.moments0.written = moments + 2 * n * c;
        run(d, alone);
      }
      return moments;
    };
    const auto m0 = moments_of(a.x0, k.c0), m1 = moments_of(a.x1, k.c1);
    const Floats expected = run(d, a.args).floats();
    for (const bool first : {true, false}) {
      for (const bool second : {true, false}) {
        NormCoefficientsArgs args = a.args;
        if (first) args.x0 = nullptr, args.moments0.given = m0;
        if (second && k.c1 > 0) args.x1 = nullptr, args.moments1.given = m1;
        expect_same_bits(run(d, args).floats(), expected,
                         fmt::format("{} given {} {}", k.name, first, second));
      }
    }
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
  auto moments = d.output(32);
  EXPECT_NO_THROW(with([&](NormCoefficientsArgs& g) { g.moments0.written = moments; }));
  EXPECT_THROW(with([](NormCoefficientsArgs& g) { g.x0 = nullptr; }), Error);
  EXPECT_NO_THROW(with([&](NormCoefficientsArgs& g) {
    g.x0 = nullptr;
    g.moments0.given = moments;
  }));
  EXPECT_THROW(with([&](NormCoefficientsArgs& g) {
                 g.moments0.given = moments;
                 g.moments0.written = moments;
               }),
               Error);
}

}  // namespace
}  // namespace diffscm::kernels
