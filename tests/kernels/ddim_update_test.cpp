// The diffusion step and the quantile against the double reference.
#include "tests/kernels/support.h"
#include "tests/op_cases.h"
#include "tests/reference.h"

namespace diffscm::kernels {
namespace {

using namespace test;

struct Step {
  Array<const float> x, eps, eps_uncond, gradient, noise, quantile;
  Array<float> out, x0;
  DdimUpdateArgs args;

  Step(const Device& d, const DdimCase& k)
      : x(d.input(random_floats(k.n * k.elements, 1, 1.5f))),
        eps(d.input(random_floats(k.n * k.elements, 2))),
        eps_uncond(d.input(k.uncond ? random_floats(k.n * k.elements, 3) : Floats{})),
        gradient(d.input(k.gradient ? random_floats(k.n * k.elements, 4) : Floats{})),
        noise(d.input(k.sigma > 0 ? random_floats(k.n * k.elements, 5) : Floats{})),
        quantile(d.input(k.threshold == Threshold::dynamic ? quantiles(k.n) : Floats{})),
        out(d.output(k.n * k.elements)),
        x0(d.output(k.x0 ? k.n * k.elements : 0)) {
    args = {.n = k.n,
            .elements = k.elements,
            .alpha_bar = k.alpha_bar,
            .alpha_bar_next = k.alpha_bar_next,
            .sigma = k.sigma,
            .guidance_scale = k.guidance_scale,
            .mean_shift = k.mean_shift,
            .condition_scale = k.condition_scale,
            .threshold = k.threshold,
            .x = x,
            .eps = eps,
            .eps_uncond = eps_uncond,
            .gradient = gradient,
            .noise = noise,
            .quantile = quantile,
            .out = out,
            .x0 = x0};
  }

  static Floats quantiles(int64_t n) {
    Floats q;
    for (int64_t i = 0; i < n; ++i) q.push_back(0.6f + 0.8f * static_cast<float>(i));
    return q;
  }
};

TARGET_TEST(DdimUpdate, MatchesReferenceAlsoInPlace) {
  for (const DdimCase& k : d.affordable(ddim_cases())) {
    d.offset = k.elements % 2;
    Step s(d, k);
    const Doubles x = s.x.doubles(), eps = s.eps.doubles(), uncond = s.eps_uncond.doubles();
    const Doubles gradient = s.gradient.doubles(), noise = s.noise.doubles();
    const Doubles quantile = s.quantile.doubles();
    const auto at = [](const Doubles& v, int64_t i) { return v.empty() ? nullptr : &v[i]; };
    Doubles out, x0;
    for (int64_t i = 0; i < k.n * k.elements; ++i) {
      const reference::DdimStep step =
          reference::ddim(s.args, x[i], eps[i], at(uncond, i), at(gradient, i), at(noise, i),
                          quantile.empty() ? 0 : quantile[i / k.elements]);
      out.push_back(step.out);
      x0.push_back(step.x0);
    }
    d.table.ddim_update(s.args);
    expect_close(s.out, out, k.tolerance, k.name);
    if (k.x0) expect_close(s.x0, x0, k.tolerance, std::string(k.name) + " x0");
    auto in_place = d.inout(s.x.floats());
    s.args.x = s.args.out = in_place;
    d.table.ddim_update(s.args);
    expect_same_bits(in_place, s.out, std::string(k.name) + " in place");
  }
}

// A recorded step reads its levels and scales from memory; the scalars are then ignored, bad ones
// too.
TARGET_TEST(DdimUpdate, LevelsAndScalesMayLieInMemory) {
  for (const DdimCase& k : ddim_cases()) {
    if (k.timed) continue;
    Step direct(d, k), indirect(d, k);
    const auto levels = d.input(std::vector<double>{k.alpha_bar, k.alpha_bar_next});
    indirect.args.levels = levels;
    indirect.args.alpha_bar = indirect.args.alpha_bar_next = -1;
    const auto scales = d.input(std::vector<double>{k.guidance_scale, k.condition_scale});
    indirect.args.scales = scales;
    indirect.args.guidance_scale = indirect.args.condition_scale = std::nan("");
    d.table.ddim_update(direct.args);
    d.table.ddim_update(indirect.args);
    expect_same_bits(indirect.out, direct.out, k.name);
    if (k.x0) expect_same_bits(indirect.x0, direct.x0, k.name);
  }
}

// Abduction then prediction with the same eps is the identity: what makes DDIM invertible.
TARGET_TEST(DdimUpdate, InvertsItself) {
  Step s(d, DdimCase{"", 2, 100, 0.7, 0.2});
  auto back = d.output(200);
  d.table.ddim_update(s.args);
  DdimUpdateArgs args = s.args;
  args.alpha_bar = 0.2;
  args.alpha_bar_next = 0.7;
  args.x = s.out;
  args.out = back;
  args.x0 = nullptr;
  d.table.ddim_update(args);
  expect_close(back, s.x.doubles(), 2e-6, "inverse");
}

TARGET_TEST(DdimUpdate, IsReproducible) {
  for (const DdimCase& k : d.affordable(ddim_cases(), 2)) {
    expect_reproducible(
        d,
        [&]() -> std::vector<Floats> {
          Step s(d, k);
          d.table.ddim_update(s.args);
          return {s.out.floats()};
        },
        k.name);
  }
}

TARGET_TEST(DdimUpdate, RejectsBadArguments) {
  Step s(d, DdimCase{"", 1, 8, 0.5, 0.6});
  const auto with = [&](auto change) {
    DdimUpdateArgs args = s.args;
    change(args);
    d.table.ddim_update(args);
  };
  EXPECT_NO_THROW(with([](DdimUpdateArgs& a) { a.n = 0; }));
  EXPECT_THROW(with([](DdimUpdateArgs& a) { a.alpha_bar = 0; }), Error);
  EXPECT_THROW(with([](DdimUpdateArgs& a) { a.alpha_bar = 1.01; }), Error);
  EXPECT_THROW(with([](DdimUpdateArgs& a) {
                 a.alpha_bar = 1;
                 a.threshold = Threshold::clip;
               }),
               Error);
  EXPECT_THROW(with([](DdimUpdateArgs& a) { a.alpha_bar_next = 1.01; }), Error);
  EXPECT_THROW(with([](DdimUpdateArgs& a) { a.alpha_bar_next = std::nan(""); }), Error);
  EXPECT_THROW(with([](DdimUpdateArgs& a) { a.sigma = 0.1; }), Error);
  EXPECT_THROW(with([](DdimUpdateArgs& a) { a.threshold = Threshold::dynamic; }), Error);
  EXPECT_THROW(with([](DdimUpdateArgs& a) { a.eps = nullptr; }), Error);
}

TARGET_TEST(AbsQuantile, MatchesReference) {
  for (const auto [n, elements] : rows_cases()) {
    d.offset = elements % 2;
    const auto x = d.input(random_floats(n * elements, 1));
    const auto eps = d.input(random_floats(n * elements, 2));
    const Doubles xs = x.doubles(), es = eps.doubles();
    for (const double q : {0.0, 0.5, 0.9, 0.995, 1.0}) {
      auto quantile = d.output(n);
      d.table.abs_quantile({n, elements, 0.3, q, x, eps, quantile});
      const Floats actual = quantile.floats();
      for (int64_t b = 0; b < n; ++b) {
        Doubles x0;
        for (int64_t e = b * elements; e < (b + 1) * elements; ++e)
          x0.push_back((xs[e] - std::sqrt(0.7) * es[e]) / std::sqrt(0.3));
        // Absolute, of numbers of size 1: the smallest |x0| is what is left of a cancellation.
        EXPECT_NEAR(actual[b], reference::abs_quantile(x0, q), 1e-6) << elements;
      }
      const auto level = d.input(std::vector<double>{0.3});
      auto again = d.output(n);
      d.table.abs_quantile({n, elements, -1, q, x, eps, again, level});
      expect_same_bits(again, quantile, "with its level in memory");
    }
  }
}

// Many equal values, as a clipped image has them: order statistics must not lose count.
TARGET_TEST(AbsQuantile, Ties) {
  Floats values;
  for (int i = 0; i < 1000; ++i) values.push_back(i % 3 == 0 ? 0.25f : i % 3 == 1 ? -0.5f : 0.75f);
  const auto x = d.input(values), eps = d.input(Floats(1000));
  for (const double q : {0.2, 0.4, 0.7, 0.999}) {
    Doubles x0;
    for (const double v : to_double(values)) x0.push_back(v / std::sqrt(0.5));
    auto quantile = d.output(1);
    d.table.abs_quantile({1, 1000, 0.5, q, x, eps, quantile});
    EXPECT_NEAR(quantile.floats()[0], reference::abs_quantile(x0, q), 1e-6) << q;
  }
}

TARGET_TEST(AbsQuantile, NanAndBadArguments) {
  Floats values = random_floats(20, 1);
  values[3] = std::numeric_limits<float>::quiet_NaN();
  const auto x = d.input(values), eps = d.input(Floats(20));
  auto quantile = d.output(2);
  d.table.abs_quantile({2, 10, 0.5, 0.9, x, eps, quantile});
  EXPECT_TRUE(std::isnan(quantile.floats()[0]));
  EXPECT_FALSE(std::isnan(quantile.floats()[1]));
  EXPECT_THROW(d.table.abs_quantile({2, 10, 0.5, 1.1, x, eps, quantile}), Error);
  EXPECT_THROW(d.table.abs_quantile({2, 0, 0.5, 0.9, x, eps, quantile}), Error);
  EXPECT_THROW(d.table.abs_quantile({2, 10, 0, 0.9, x, eps, quantile}), Error);
  EXPECT_THROW(d.table.abs_quantile({2, 10, 0.5, 0.9, x, nullptr, quantile}), Error);
}

}  // namespace
}  // namespace diffscm::kernels
