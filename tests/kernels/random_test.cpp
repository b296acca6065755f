// Philox against the published vectors, and normal numbers against the scalar definition.
#include "kernels/box_muller.h"
#include "kernels/cpu/isa.h"
#include "tests/kernels/support.h"
#include "tests/op_cases.h"
#include "tests/reference.h"

namespace diffscm::kernels {
namespace {

using namespace test;

// Known answers of Random123 (kat_vectors, philox4x32 with 10 rounds). RandomKey folds the purpose
// into the key's high word, so the seed undoes that first.
TEST(Philox, KnownAnswers) {
  const auto key_of = [](uint32_t k0, uint32_t k1, uint32_t step) {
    const uint32_t folded = static_cast<uint32_t>(Purpose::noise) * 0x9E3779B9u;
    return RandomKey{uint64_t{k1 ^ folded} << 32 | k0, Purpose::noise, step};
  };
  struct {
    uint32_t k0, k1, block;
    uint64_t sample;
    uint32_t step;
    uint32_t expected[4];
  } const answers[] = {
      {0, 0, 0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {~0u, ~0u, ~0u, ~uint64_t{0}, ~0u, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {0xa4093822,
       0x299f31d0,
       0x243f6a88,
       0x13198a2e85a308d3,
       0x03707344,
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (const auto& a : answers) {
    const Philox actual = philox(key_of(a.k0, a.k1, a.step), a.sample, a.block);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(actual.word[i], a.expected[i]);
  }
}

TEST(Philox, UniformIsInHalfOpenInterval) {
  EXPECT_EQ(uniform01(0), 1.0f / 16777216.0f);
  EXPECT_EQ(uniform01(~0u), 1.0f);
}

TARGET_TEST(Normal, MatchesTheDefinition) {
  const std::vector<int64_t> samples = {0, 7, int64_t{5} << 33};
  const auto index = d.input(samples);
  const RandomKey key{0x123456789abcdef0, Purpose::sampler, 4};
  for (const int64_t elements : {1, 2, 5, 127, 128, 129, 1000}) {
    d.offset = elements % 2;
    auto y = d.output(3 * elements);
    d.table.normal({key, 3, elements, index, y});
    Doubles expected;
    for (const int64_t sample : samples)
      for (int64_t e = 0; e < elements; ++e)
        expected.push_back(reference::normal(key, static_cast<uint64_t>(sample), e));
    // Every number on its own: a wrong sine near a zero must not hide behind the largest.
    const Floats actual = y.floats();
    for (size_t i = 0; i < actual.size(); ++i) ASSERT_NEAR(actual[i], expected[i], 1e-6) << i;
  }
}

// The same bits on every target: those that one scalar evaluation gives.
TARGET_TEST(Normal, BitsAreThoseOfTheDefinition) {
#ifdef __FP_FAST_FMAF
  const bool fused = true;
#else
  const bool fused = cpu::chosen_isa() != cpu::Isa::kV1;
#endif
  const RandomKey key{11, Purpose::noise, 6};
  const int64_t sample = 123456789, elements = 4 * 5000 + 2;
  const auto index = d.input(std::vector<int64_t>{sample});
  auto out = d.output(elements);
  d.table.normal({key, 1, elements, index, out});
  Floats expected;
  for (uint32_t block = 0; block * 4 < elements; ++block) {
    const Philox words = philox(key, static_cast<uint64_t>(sample), block);
    const NormalPair low = box_muller(words.word[0], words.word[1]);
    const NormalPair high = box_muller(words.word[2], words.word[3]);
    for (const float v : {low.first, low.second, high.first, high.second}) expected.push_back(v);
  }
  expected.resize(static_cast<size_t>(elements));
  const Floats y = out.floats();
  if (fused || !d.is("cpu")) {
    expect_same_bits(y, expected, "normal");
  } else {
    for (size_t i = 0; i < y.size(); ++i)
      ASSERT_NEAR(y[i], expected[i], 4 * 1.2e-7f * std::abs(expected[i])) << i;
  }
}

TARGET_TEST(Normal, MomentsAndIndependence) {
  const int64_t n = 1 << 20;
  const auto index = d.input(std::vector<int64_t>{3});
  auto out = d.output(n);
  d.table.normal({{1, Purpose::noise, 0}, 1, n, index, out});
  const Floats y = out.floats();
  double mean = 0, second = 0, third = 0, fourth = 0, neighbours = 0, beyond = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double v = y[i];
    mean += v / n;
    second += v * v / n;
    third += v * v * v / n;
    fourth += v * v * v * v / n;
    beyond += std::abs(v) > 1.959964 ? 1.0 / n : 0;
    if (i > 0) neighbours += v * y[i - 1] / n;
  }
  // Five standard deviations of each estimate at n = 2^20, that is 5 / 1024 times its spread.
  EXPECT_NEAR(mean, 0, 0.0049);
  EXPECT_NEAR(second, 1, 0.0069);
  EXPECT_NEAR(third, 0, 0.019);
  EXPECT_NEAR(fourth, 3, 0.048);
  EXPECT_NEAR(neighbours, 0, 0.0049);
  EXPECT_NEAR(beyond, 0.05, 0.0011);
}

TARGET_TEST(Normal, DependsOnKeyAndSampleAlone) {
  const int64_t elements = 300;
  const auto draw = [&](RandomKey key, const std::vector<int64_t>& samples) {
    const auto n = static_cast<int64_t>(samples.size());
    const auto index = d.input(samples);
    auto y = d.output(n * elements);
    d.table.normal({key, n, elements, index, y});
    return y.floats();
  };
  const RandomKey key{9, Purpose::noise, 2};
  const Floats batch = draw(key, {4, 5, 6});
  expect_same_bits(draw(key, {6}), row(batch, 3, 2), "sample 6 alone");
  EXPECT_NE(draw(key, {7}), row(batch, 3, 2));
  EXPECT_NE(draw({10, Purpose::noise, 2}, {6}), row(batch, 3, 2));
  EXPECT_NE(draw({9, Purpose::sampler, 2}, {6}), row(batch, 3, 2));
  EXPECT_NE(draw({9, Purpose::noise, 3}, {6}), row(batch, 3, 2));
  expect_reproducible(
      d, [&]() -> std::vector<Floats> { return {draw(key, std::vector<int64_t>(64, 5))}; },
      "normal");
  const auto step = d.input(std::vector<uint32_t>{2});
  expect_same_bits(draw({9, Purpose::noise, 77, step}, {4, 5, 6}), batch, "step in memory");
}

TARGET_TEST(Normal, RejectsBadArguments) {
  const auto index = d.input(std::vector<int64_t>{0});
  auto y = d.output(4);
  EXPECT_NO_THROW(d.table.normal({{}, 0, 4, nullptr, nullptr}));
  EXPECT_NO_THROW(d.table.normal({{}, 1, 0, index, nullptr}));
  EXPECT_THROW(d.table.normal({{}, 1, 4, nullptr, y}), Error);
  EXPECT_THROW(d.table.normal({{}, 1, 4, index, nullptr}), Error);
  EXPECT_THROW(d.table.normal({{}, -1, 4, index, y}), Error);
  EXPECT_THROW(d.table.normal({{}, 1, int64_t{1} << 40, index, y}), Error);
}

}  // namespace
}  // namespace diffscm::kernels
