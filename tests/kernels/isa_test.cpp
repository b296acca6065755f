// Which instruction set the cpu target's kernels use.
#include "kernels/cpu/isa.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "kernels/cpu/clones.h"
#include "tests/kernels/support.h"

namespace diffscm::kernels::cpu {
namespace {

DIFFSCM_INLINE void multiply_add_leaf(int64_t n, const float* x, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] * x[i] - y[i];
}
constexpr Clones<multiply_add_leaf> multiply_add;

// Only where the processor's multiply-add is used does x x - round(x x) show what was rounded off.
bool fuses(Isa isa) {
  const float x = 1 + 1.0f / 4096;
  float y = x * x;
  multiply_add.on(isa, 1, &x, &y);
  return y != 0;
}

TEST(Isa, ClonesAreCompiledForTheirs) {
  if (!isa_supported(Isa::kV3)) GTEST_SKIP() << "this processor has the baseline only";
  EXPECT_FALSE(fuses(Isa::kV1));
  EXPECT_TRUE(fuses(Isa::kV3));
  EXPECT_TRUE(!isa_supported(Isa::kV4) || fuses(Isa::kV4));
}

TEST(Isa, ValuesAreParsedOrRefused) {
  EXPECT_EQ(parse_isa(""), best_isa());
  EXPECT_EQ(parse_isa("v1"), Isa::kV1);
  EXPECT_THROW(parse_isa("v2"), Error);
  EXPECT_THROW(parse_isa("avx2"), Error);
  if (!isa_supported(Isa::kV4)) {
    EXPECT_THROW(parse_isa("v4"), Error);
  }
}

// Every kernel follows chosen_isa(): ctest runs this with each value of DIFFSCM_ISA.
TARGET_TEST_ON("cpu", Isa, OfTheEnvironmentIsObeyed) {
  const char* value = std::getenv("DIFFSCM_ISA");
  const Isa isa = parse_isa(value ? value : "");
  EXPECT_EQ(chosen_isa(), isa);
  // a x - a x is 0 unless one of the products is not rounded.
  const float a = 1 + 1.0f / 4096;
  const auto x = d.input(test::Floats(64, a));
  auto y = d.output(64);
  d.table.linear_combination({64, a, x, -a, x, y});
  for (const float v : y.floats()) EXPECT_EQ(v != 0, fuses(isa)) << v;
}

}  // namespace
}  // namespace diffscm::kernels::cpu
