// The diffusion step and the quantile against the double reference.
#include "tests/kernels/support.h"
#include "tests/op_cases.h"
#include "tests/reference.h"

namespace diffscm::kernels {
namespace {

using namespace test;

struct Step {
  Floats x, eps, eps_uncond, gradient, noise, quantile, out, x0;
  DdimUpdateArgs args;

  explicit Step(const DdimCase& k) {
    const int64_t size = k.n * k.elements;
    x = random_floats(size, 1, 1.5f);
    eps = random_floats(size, 2);
    out = poisoned(size);
    args = {.n = k.n,
            .elements = k.elements,
            .alpha_bar = k.alpha_bar,
            .alpha_bar_next = k.alpha_bar_next,
            .sigma = k.sigma,
            .guidance_scale = k.guidance_scale,
            .mean_shift = k.mean_shift,
            .condition_scale = k.condition_scale,
            .threshold = k.threshold,
            .x = x.data(),
            .eps = eps.data(),
            .out = out.data()};
    if (k.uncond) args.eps_uncond = (eps_uncond = random_floats(size, 3)).data();
    if (k.gradient) args.gradient = (gradient = random_floats(size, 4)).data();
    if (k.sigma > 0) args.noise = (noise = random_floats(size, 5)).data();
    if (k.threshold == Threshold::dynamic) {
      for (int64_t n = 0; n < k.n; ++n) quantile.push_back(0.6f + 0.8f * static_cast<float>(n));
      args.quantile = quantile.data();
    }
    if (k.x0) args.x0 = (x0 = poisoned(size)).data();
  }
};

TEST(DdimUpdate, MatchesReferenceAlsoInPlace) {
  for (const OperatorTable* table : tables()) {
    for (const DdimCase& k : ddim_cases()) {
      Step s(k);
      Doubles out, x0;
      for (int64_t i = 0; i < k.n * k.elements; ++i) {
        const double uncond = k.uncond ? s.eps_uncond[i] : 0,
                     gradient = k.gradient ? s.gradient[i] : 0;
        const double noise = k.sigma > 0 ? s.noise[i] : 0;
        const reference::DdimStep step =
            reference::ddim(s.args, s.x[i], s.eps[i], k.uncond ? &uncond : nullptr,
                            k.gradient ? &gradient : nullptr, k.sigma > 0 ? &noise : nullptr,
                            s.quantile.empty() ? 0 : s.quantile[i / k.elements]);
        out.push_back(step.out);
        x0.push_back(step.x0);
      }
      table->ddim_update(s.args);
      expect_close(s.out, out, k.tolerance, k.name);
      if (k.x0) expect_close(s.x0, x0, k.tolerance, std::string(k.name) + " x0");
      s.args.out = s.x.data();
      table->ddim_update(s.args);
      expect_same_bits(s.x, s.out, std::string(k.name) + " in place");
    }
  }
}

// Abduction then prediction with the same eps is the identity: what makes DDIM invertible.
TEST(DdimUpdate, InvertsItself) {
  for (const OperatorTable* table : tables()) {
    Step s(DdimCase{"", 2, 100, 0.7, 0.2});
    Floats back = poisoned(200);
    table->ddim_update(s.args);
    DdimUpdateArgs args = s.args;
    args.alpha_bar = 0.2;
    args.alpha_bar_next = 0.7;
    args.x = s.out.data();
    args.out = back.data();
    args.x0 = nullptr;
    table->ddim_update(args);
    expect_close(back, to_double(s.x), 2e-6, "inverse");
  }
}

TEST(DdimUpdate, BitsDoNotDependOnThreads) {
  for (const OperatorTable* table : tables()) {
    for (const DdimCase& k : ddim_cases()) {
      expect_thread_independent(
          [&]() -> std::vector<Floats> {
            Step s(k);
            table->ddim_update(s.args);
            return {s.out};
          },
          k.name);
    }
  }
}

// A recorded step reads its levels from memory; the scalars are then ignored, bad ones too.
TEST(DdimUpdate, LevelsMayLieInMemory) {
  for (const OperatorTable* table : tables()) {
    for (const DdimCase& k : ddim_cases()) {
      if (k.timed) continue;
      Step s(k);
      table->ddim_update(s.args);
      const double levels[] = {k.alpha_bar, k.alpha_bar_next};
      Floats out = poisoned(k.n * k.elements), x0 = out;
      s.args.levels = levels;
      s.args.alpha_bar = s.args.alpha_bar_next = -1;
      s.args.out = out.data();
      s.args.x0 = x0.data();
      table->ddim_update(s.args);
      expect_same_bits(out, s.out, k.name);
      if (k.x0) expect_same_bits(x0, s.x0, std::string(k.name) + " x0");
    }
  }
}

TEST(DdimUpdate, RejectsBadArguments) {
  for (const OperatorTable* table : tables()) {
    Step s(DdimCase{"", 1, 8, 0.5, 0.6});
    const auto with = [&](auto change) {
      DdimUpdateArgs args = s.args;
      change(args);
      table->ddim_update(args);
    };
    EXPECT_NO_THROW(with([](DdimUpdateArgs& a) { a.n = 0; }));
    EXPECT_THROW(with([](DdimUpdateArgs& a) { a.alpha_bar = 0; }), Error);
    EXPECT_THROW(with([](DdimUpdateArgs& a) { a.alpha_bar = 1; }), Error);
    EXPECT_THROW(with([](DdimUpdateArgs& a) { a.alpha_bar_next = 1.01; }), Error);
    EXPECT_THROW(with([](DdimUpdateArgs& a) { a.alpha_bar_next = std::nan(""); }), Error);
    EXPECT_THROW(with([](DdimUpdateArgs& a) { a.sigma = 0.1; }), Error);
    EXPECT_THROW(with([](DdimUpdateArgs& a) { a.threshold = Threshold::dynamic; }), Error);
    EXPECT_THROW(with([](DdimUpdateArgs& a) { a.eps = nullptr; }), Error);
  }
}

TEST(AbsQuantile, MatchesReference) {
  for (const OperatorTable* table : tables()) {
    for (const auto [n, elements] : rows_cases()) {
      for (const double q : {0.0, 0.5, 0.9, 0.995, 1.0}) {
        const Floats x = random_floats(n * elements, 1), eps = random_floats(n * elements, 2);
        Floats quantile = poisoned(n);
        table->abs_quantile({n, elements, 0.3, q, x.data(), eps.data(), quantile.data()});
        Doubles expected;
        for (int64_t b = 0; b < n; ++b) {
          Doubles x0;
          for (int64_t e = b * elements; e < (b + 1) * elements; ++e)
            x0.push_back((x[e] - std::sqrt(0.7) * eps[e]) / std::sqrt(0.3));
          expected.push_back(reference::abs_quantile(x0, q));
        }
        // Absolute, of numbers of size 1: the smallest |x0| is what is left of a cancellation.
        for (int64_t b = 0; b < n; ++b) EXPECT_NEAR(quantile[b], expected[b], 1e-6) << elements;
      }
    }
  }
}

TEST(AbsQuantile, LevelMayLieInMemory) {
  for (const OperatorTable* table : tables()) {
    const Floats x = random_floats(3 * 100, 1), eps = random_floats(3 * 100, 2);
    const double level = 0.3;
    Floats scalar = poisoned(3), memory = poisoned(3);
    table->abs_quantile({3, 100, level, 0.9, x.data(), eps.data(), scalar.data()});
    table->abs_quantile({3, 100, -1, 0.9, x.data(), eps.data(), memory.data(), &level});
    expect_same_bits(memory, scalar, "level");
  }
}

TEST(AbsQuantile, NanAndBadArguments) {
  for (const OperatorTable* table : tables()) {
    Floats x = random_floats(20, 1), quantile = poisoned(2);
    const Floats eps(20, 0.0f);
    x[3] = std::numeric_limits<float>::quiet_NaN();
    table->abs_quantile({2, 10, 0.5, 0.9, x.data(), eps.data(), quantile.data()});
    EXPECT_TRUE(std::isnan(quantile[0]));
    EXPECT_FALSE(std::isnan(quantile[1]));
    EXPECT_THROW(table->abs_quantile({2, 10, 0.5, 1.1, x.data(), eps.data(), quantile.data()}),
                 Error);
    EXPECT_THROW(table->abs_quantile({2, 0, 0.5, 0.9, x.data(), eps.data(), quantile.data()}),
                 Error);
    EXPECT_THROW(table->abs_quantile({2, 10, 0, 0.9, x.data(), eps.data(), quantile.data()}),
                 Error);
    EXPECT_THROW(table->abs_quantile({2, 10, 0.5, 0.9, x.data(), nullptr, quantile.data()}), Error);
  }
}

}  // namespace
}  // namespace diffscm::kernels
