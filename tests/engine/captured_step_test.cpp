#include "engine/captured_step.h"

#include <gtest/gtest.h>

namespace diffscm {
namespace {

// y = a x + b z on whatever target they are.
Tensor combine(float a, const Tensor& x, float b, const Tensor& z) {
  Tensor y(x.shape(), x.target());
  operators(x.target()).linear_combination({x.numel(), a, x.data(), b, z.data(), y.mutable_data()});
  return y;
}

TEST(Targets, AreListedWithTheReasonWhyOneCannotBeUsed) {
  EXPECT_EQ(unusable_because(Target::cpu), "");
  EXPECT_EQ(unusable_because(Target::emu), "");
  EXPECT_NE(default_target(), Target::emu);
  if (unusable_because(Target::cuda).empty()) GTEST_SKIP() << "this machine can use cuda";
  try {
    operators(Target::cuda);
    FAIL() << "cuda was given out";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(unusable_because(Target::cuda)), std::string::npos);
  }
}

// On each target that can be used here.
class TargetsTest : public ::testing::TestWithParam<Target> {};

TEST_P(TargetsTest, TensorsTravel) {
  const std::vector<float> values{1, 2, 3, 4, 5, 6};
  const Tensor host = Tensor::from(values, {2, 3});
  const Tensor device = host.to(GetParam());
  EXPECT_EQ(device.target(), GetParam());
  EXPECT_EQ(device.to_vector(), values);
  EXPECT_EQ(device.clone().to_vector(), values);
  EXPECT_EQ(device.slice(1, 2).to_vector(), (std::vector<float>{4, 5, 6}));
  EXPECT_EQ(device.slice(1, 2).to(Target::cpu).to_vector(), (std::vector<float>{4, 5, 6}));
  Tensor other = Tensor::zeros({2, 3}, GetParam());
  other.slice(0, 1).copy_from(host.slice(1, 2));
  EXPECT_EQ(other.to_vector(), (std::vector<float>{4, 5, 6, 0, 0, 0}));
}

TEST_P(TargetsTest, TensorsHoldBf16) {
  if (GetParam() == Target::cpu) GTEST_SKIP() << "cpu has no bf16";
  Tensor t({3}, GetParam(), Dtype::bf16);
  const Tensor x = Tensor::from(std::vector<float>{1, 1.005f, -3}, {3}, GetParam());
  operators(GetParam()).cast_to_bf16({3, x.data(), t.mutable_data<kernels::bf16>()});
  EXPECT_EQ(t.to_vector(), (std::vector<float>{1, 1.0078125f, -3}));
  EXPECT_THROW(t.data(), Error);
  EXPECT_EQ(size_of(Dtype::bf16), 2);
  EXPECT_STREQ(name_of(Dtype::bf16), "bf16");
}

TEST_P(TargetsTest, MemoryRunsOutWithFigures) {
  try {
    const Tensor t({int64_t{1} << 56}, GetParam());
    FAIL() << "so much memory";
  } catch (const Error& e) {
    for (const char* part : {"asked for", "in use", "cached", "free on the device", "--batch"})
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
  }
}

class CapturedStepTest : public ::testing::TestWithParam<Target> {
 protected:
  ~CapturedStepTest() override { set_step_recording(true); }
  Tensor of(std::vector<float> values) const {
    return Tensor::from(values, {static_cast<int64_t>(values.size())}, GetParam());
  }
};

// state = state / 2 + input, with intermediates that come and go.
std::vector<std::vector<float>> accumulate(Target target, bool recorded, int& calls) {
  set_step_recording(recorded);
  Tensor state = Tensor::zeros({3}, target), input = Tensor::zeros({3}, target), result;
  CapturedStep step(target, [&] {
    ++calls;
    const Tensor half = combine(0.5f, state, 0, state);
    result = combine(1, half, 1, input);
    state.copy_from(result);
  });
  std::vector<std::vector<float>> seen;
  std::vector<Tensor> bystanders;  // take whatever memory the general pool has to give
  for (int i = 0; i < 5; ++i) {
    input.copy_from(Tensor::from(std::vector<float>{1.0f * i, 2, -1.0f * i}, {3}));
    bystanders.push_back(Tensor::full({3}, 100, target));
    step.run();
    seen.push_back(state.to_vector());
    EXPECT_EQ(result.to_vector(), seen.back());
  }
  for (const Tensor& b : bystanders) EXPECT_EQ(b.to_vector(), std::vector<float>(3, 100));
  return seen;
}

TEST_P(CapturedStepTest, ReplaysEqualDirectExecution) {
  int direct_calls = 0, recorded_calls = 0;
  const auto direct = accumulate(GetParam(), false, direct_calls);
  EXPECT_EQ(accumulate(GetParam(), true, recorded_calls), direct);
  EXPECT_EQ(direct_calls, 5);
  EXPECT_EQ(recorded_calls, records_steps(GetParam()) ? 2 : 5);
  EXPECT_EQ(direct[4], (std::vector<float>{6.125f, 3.875f, -6.125f}));
}

TEST_P(CapturedStepTest, DerivedValuesNoticeReplays) {
  Tensor weight = of({1, 2});
  CapturedStep step(GetParam(), [&] {
    const Tensor twice = combine(2, weight, 0, weight);
    weight.copy_from(twice);
  });
  const auto negated = [&] {
    return weight.derived("negated", [&] { return combine(-1, weight, 0, weight); }).to_vector();
  };
  for (float expected = 2; expected <= 16; expected *= 2) {
    step.run();
    EXPECT_EQ(negated(), (std::vector<float>{-expected, -2 * expected}));
  }
}

TEST_P(CapturedStepTest, RecordsAgainWhenADerivedValueIsStale) {
  Tensor weight = of({1, 2}), out = of({0, 0});
  int calls = 0;
  const auto derived = [&] {
    return weight.derived("negated", [&] { return combine(-1, weight, 0, weight); });
  };
  CapturedStep step(GetParam(), [&] {
    ++calls;
    out.copy_from(derived());
    out.copy_from(derived());
  });
  const auto expect = [&](const std::vector<float>& expected, int runs) {
    for (int i = 0; i < runs; ++i) {
      out.copy_from(of({0, 0}));
      step.run();
      EXPECT_EQ(out.to_vector(), expected) << "run " << i;
    }
  };
  expect({-1, -2}, 4);
  weight.copy_from(of({5, 6}));  // now the value is replaced by whoever asks first ...
  derived();
  const Tensor bystander = of({7, 7});  // ... and its memory may be given to others
  expect({-5, -6}, 4);
  weight.copy_from(of({8, 9}));
  expect({-8, -9}, 4);
  EXPECT_EQ(calls, records_steps(GetParam()) ? 6 : 12);  // of each four one direct, one recorded
}

TEST_P(CapturedStepTest, ReplaysDeriveWhatTheStepItselfChanges) {
  Tensor weight = of({1, 2}), out = of({0, 0});
  int calls = 0;
  CapturedStep step(GetParam(), [&] {
    ++calls;
    for (int i = 0; i < 2; ++i)
      out.copy_from(weight.derived("negated", [&] { return combine(-1, weight, 0, weight); }));
    const Tensor next = combine(2, weight, 0, weight);
    weight.copy_from(next);
  });
  for (float expected = -1; expected >= -32; expected *= 2) {
    step.run();
    EXPECT_EQ(out.to_vector(), (std::vector<float>{expected, 2 * expected}));
  }
  weight.copy_from(of({3, 4}));
  step.run();
  EXPECT_EQ(out.to_vector(), (std::vector<float>{-3, -4}));
  EXPECT_EQ(calls, records_steps(GetParam()) ? 2 : 7);
}

TEST_P(CapturedStepTest, WhatABrokenRecordingDerivedIsComputedAgain) {
  Tensor weight = of({1, 2});
  bool fails = false;
  const auto negated = [&] {
    return weight.derived("negated", [&] { return combine(-1, weight, 0, weight); });
  };
  CapturedStep step(GetParam(), [&] {
    if (!fails) return;
    negated();
    fail("the body breaks off");
  });
  step.run();
  fails = true;
  EXPECT_THROW(step.run(), Error);
  EXPECT_EQ(negated().to_vector(), (std::vector<float>{-1, -2}));
}

TEST(Tensors, DeriveOneValueForEachShape) {
  const Tensor t = Tensor::from(std::vector<float>{1, 2, 3, 4}, {4});
  const auto shape_of = [](const Tensor& x) {
    return x.derived("copy", [&] { return x.clone(); }).shape();
  };
  EXPECT_EQ(shape_of(t), (Shape{4}));
  EXPECT_EQ(shape_of(t.reshape({2, 2})), (Shape{2, 2}));
  EXPECT_EQ(shape_of(t.slice(0, 2)), (Shape{2}));
  EXPECT_EQ(shape_of(t), (Shape{4}));
}

TEST_P(CapturedStepTest, ConstantsMayBeUsedOnceTheyAreKnown) {
  Tensor sum = of({0, 0});
  CapturedStep step(GetParam(), [&] {
    const Tensor next = combine(1, sum, 1, Tensor::constant({2}, 3.5f, GetParam()));
    sum.copy_from(next);
  });
  for (int i = 0; i < 3; ++i) step.run();
  EXPECT_EQ(sum.to_vector(), (std::vector<float>{10.5f, 10.5f}));
}

TEST_P(CapturedStepTest, ReturnsItsMemory) {
  const int64_t before = memory_statistics(GetParam()).in_use_bytes;
  {
    const Tensor x = of({1, 2, 3});
    CapturedStep step(GetParam(), [&] { combine(1, combine(2, x, 0, x), 1, x); });
    for (int i = 0; i < 3; ++i) step.run();
  }
  EXPECT_EQ(memory_statistics(GetParam()).in_use_bytes, before);
}

// Walks and trainings come one after the other: memory is asked for once.
TEST_P(CapturedStepTest, TheNextStepTakesTheMemoryOfTheLast) {
  if (!records_steps(GetParam())) GTEST_SKIP() << "nothing is recorded here";
  const Tensor x = Tensor::full({1 << 16}, 1, GetParam());
  const auto left_while_it_lives = [&] {
    CapturedStep step(GetParam(), [&] { combine(1, combine(2, x, 0, x), 1, x); });
    for (int i = 0; i < 3; ++i) step.run();
    return runtime(GetParam()).memory().free_bytes;
  };
  const size_t left = left_while_it_lives();
  EXPECT_EQ(runtime(GetParam()).memory().free_bytes, left);
  EXPECT_EQ(left_while_it_lives(), left);
}

TEST_P(CapturedStepTest, ABodyThatNeedsTheHostIsRefusedAndLeavesTheTargetUsable) {
  if (!records_steps(GetParam())) GTEST_SKIP() << "nothing is recorded here";
  const Tensor x = of({1, 2});
  {
    CapturedStep step(GetParam(), [&] { x.to_vector(); });
    step.run();
    EXPECT_THROW(step.run(), Error);
  }
  EXPECT_EQ(combine(1, x, 1, x).to_vector(), (std::vector<float>{2, 4}));
}

constexpr auto kTargetName = [](const auto& info) { return std::string(name_of(info.param)); };
INSTANTIATE_TEST_SUITE_P(All, TargetsTest, ::testing::ValuesIn(available_targets()), kTargetName);
INSTANTIATE_TEST_SUITE_P(Targets, CapturedStepTest, ::testing::ValuesIn(available_targets()),
                         kTargetName);

}  // namespace
}  // namespace diffscm
