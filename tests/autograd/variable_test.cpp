#include "autograd/variable.h"

#include <gtest/gtest.h>

#include "autograd/functions.h"
#include "engine/memory.h"
#include "tests/autograd/gradient_check.h"

namespace diffscm {
namespace {

using testing::random_tensor;
using Floats = std::vector<float>;

Tensor ones(const Shape& shape) {
  return Tensor::full(shape, 1);
}
Floats times(Floats x, float factor) {
  for (float& v : x) v *= factor;
  return x;
}
int64_t in_use() {
  return memory_statistics(Target::cpu).in_use_bytes;
}

TEST(Backward, AValueUsedTwiceCollectsBothGradients) {
  const Variable x = Variable::leaf(random_tensor({3, 4}, 1));
  const Tensor seed = random_tensor({3, 4}, 2);
  backward(add(x, x), seed);
  EXPECT_EQ(x.gradient().to_vector(), times(seed.to_vector(), 2));
}

TEST(Backward, TheSeedSurvivesEvenWhereGradientsAreShared) {
  const Variable x = Variable::leaf(random_tensor({5}, 1));
  const Tensor seed = random_tensor({5}, 2);
  const Floats before = seed.to_vector();
  const Variable y = add(x, x);
  backward(add(y, add(y, x)), seed);
  EXPECT_EQ(seed.to_vector(), before);
  const Floats g = x.gradient().to_vector();
  for (size_t i = 0; i < g.size(); ++i) EXPECT_FLOAT_EQ(g[i], 5 * before[i]);
}

TEST(Backward, VisitsADiamondOnceHoweverDeep) {
  // y_k = y_{k-1} + y_{k-1}: 2^40 paths, 40 nodes.
  const Variable x = Variable::leaf(ones({2}));
  Variable y = x;
  for (int i = 0; i < 40; ++i) y = add(y, y);
  backward(y, ones({2}));
  EXPECT_EQ(x.gradient().to_vector(), Floats(2, 1099511627776.0f));
}

TEST(Backward, LeavesAccumulateOverSeveralTapesUntilCleared) {
  Variable x = Variable::leaf(random_tensor({4}, 1));
  backward(negate(x), ones({4}));
  backward(negate(x), ones({4}));
  EXPECT_EQ(x.gradient().to_vector(), Floats(4, -2));
  x.clear_gradient();
  EXPECT_FALSE(x.gradient());
  backward(negate(x), ones({4}));
  EXPECT_EQ(x.gradient().to_vector(), Floats(4, -1));
}

TEST(Backward, WithoutATapeIsAnError) {
  EXPECT_THROW(backward(Variable(ones({2})), ones({2})), Error);
  EXPECT_THROW(backward(negate(Variable(ones({2}))), ones({2})), Error);
  const Variable x = Variable::leaf(ones({2}));
  Variable y;
  {
    const NoGrad no_grad;
    y = negate(x);
  }
  EXPECT_THROW(backward(y, ones({2})), Error);
}

TEST(Backward, TwiceIsAnErrorAndLeavesTheGradientsAlone) {
  const Variable x = Variable::leaf(ones({2}));
  const Variable y = negate(x), z = silu(y);
  backward(z, ones({2}));
  const Floats once = x.gradient().to_vector();
  EXPECT_THROW(backward(z, ones({2})), Error);
  EXPECT_THROW(backward(y, ones({2})), Error);
  EXPECT_THROW(backward(add(y, x), ones({2})), Error);  // half of this tape is gone
  EXPECT_EQ(x.gradient().to_vector(), once);
}

TEST(Backward, TheSeedMustHaveTheShapeOfTheRoot) {
  const Variable x = Variable::leaf(ones({2, 3}));
  EXPECT_THROW(backward(negate(x), ones({3, 2})), Error);
  EXPECT_THROW(backward(negate(x), ones({6})), Error);
}

TEST(Backward, ABranchThatReachesNoRootGetsNoGradient) {
  const Variable a = Variable::leaf(ones({2})), b = Variable::leaf(ones({2}));
  const Variable unused = negate(b);
  backward(negate(a), ones({2}));
  EXPECT_TRUE(a.gradient());
  EXPECT_FALSE(b.gradient());
}

TEST(Backward, FrozenWeightsGetNoGradientAndInputsStillDo) {
  const Variable x = Variable::leaf(random_tensor({1, 4, 4, 3}, 1));
  const Variable w = random_tensor({2, 3, 3, 3}, 2), bias = random_tensor({2}, 3);
  const Variable linear_w = random_tensor({5, 2}, 4);
  backward(linear(conv2d(x, {}, w, bias, {}), linear_w, {}), ones({1, 4, 4, 5}));
  EXPECT_TRUE(x.gradient());
  EXPECT_FALSE(w.needs_gradient());
  EXPECT_THROW(w.gradient(), Error);
}

TEST(Tape, IsNotRecordedUnderNoGradNorForConstants) {
  const Variable x = Variable::leaf(ones({2}));
  EXPECT_TRUE(negate(x).needs_gradient());
  EXPECT_FALSE(negate(Variable(ones({2}))).needs_gradient());
  {
    const NoGrad outer;
    EXPECT_FALSE(recording());
    {
      const NoGrad inner;
      EXPECT_FALSE(negate(x).needs_gradient());
    }
    EXPECT_FALSE(recording()) << "the inner one must not switch recording back on";
    EXPECT_FALSE(negate(x).needs_gradient());
  }
  EXPECT_TRUE(recording());
  EXPECT_TRUE(negate(x).needs_gradient());
}

TEST(Tape, KeepsWhatBackwardNeedsAndNothingUnderNoGrad) {
  const int64_t mebibyte = 1 << 20;
  const Variable x = Variable::leaf(Tensor::zeros({mebibyte / 4}));
  const int64_t before = in_use();
  {
    const NoGrad no_grad;
    Variable y = x;
    for (int i = 0; i < 10; ++i) y = silu(y);
    EXPECT_LE(in_use() - before, 2 * mebibyte);
  }
  EXPECT_EQ(in_use(), before);
  {
    Variable y = x;
    for (int i = 0; i < 10; ++i) y = silu(y);
    EXPECT_GE(in_use() - before, 9 * mebibyte);  // each silu keeps its input
    backward(y, Tensor::zeros(x.shape()));
    EXPECT_LE(in_use() - before, 2 * mebibyte);  // y and x's gradient; the tape is consumed
  }
  EXPECT_LE(in_use() - before, mebibyte);
}

TEST(Tape, IsFreedWhenItsRootIsDroppedWithoutBackward) {
  const Variable x = Variable::leaf(Tensor::zeros({1 << 16}));
  const int64_t before = in_use();
  {
    Variable y = x;
    for (int i = 0; i < 10; ++i) y = silu(y);
    EXPECT_GT(in_use(), before);
  }
  EXPECT_EQ(in_use(), before);
}

// Guidance: with frozen weights a layer keeps nothing of its input.
TEST(Tape, FrozenLinearLayersDoNotKeepTheirInputs) {
  const int64_t n = 64, c = 256;
  const Variable frozen(Tensor::zeros({c, c})), x = Variable::leaf(Tensor::zeros({n, c}));
  const int64_t before = in_use();
  Variable y = x;
  for (int i = 0; i < 10; ++i) y = linear(y, frozen, {});
  EXPECT_LE(in_use() - before, 2 * n * c * 4);
  backward(y, Tensor::zeros({n, c}));
  EXPECT_TRUE(x.gradient());
}

}  // namespace
}  // namespace diffscm
