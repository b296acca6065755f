#include "autograd/adamw.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "autograd/dispatch.h"
#include "autograd/functions.h"
#include "tests/autograd/gradient_check.h"

namespace diffscm {
namespace {

using testing::random_tensor;
using Floats = std::vector<float>;

// Delivers `gradient` to a leaf.
void deliver(const Variable& leaf, const Tensor& gradient) {
  backward(reshape(leaf, leaf.shape()), gradient);
}

// AdamW as Loshchilov & Hutter 2019 write algorithm 2, one scalar in double.
struct Scalar {
  double p, m = 0, v = 0, ema;
  explicit Scalar(double start) : p(start), ema(start) {}
  void step(const AdamwOptions& o, double g, int64_t t, double lr_scale) {
    const double lr = o.lr * lr_scale;
    m = o.beta1 * m + (1 - o.beta1) * g;
    v = o.beta2 * v + (1 - o.beta2) * g * g;
    const double m_hat = m / (1 - std::pow(o.beta1, t)), v_hat = v / (1 - std::pow(o.beta2, t));
    p = p - lr * o.weight_decay * p - lr * m_hat / (std::sqrt(v_hat) + o.eps);
    const double decay = std::min(o.ema_decay, (1.0 + t) / (10.0 + t));
    ema = decay * ema + (1 - decay) * p;
  }
};

TEST(Adamw, FollowsTheAlgorithmInDouble) {
  const AdamwOptions options{.lr = 0.01, .weight_decay = 0.1, .ema_decay = 0.9};
  Variable a = random_tensor({3, 7}, 1), b = random_tensor({5}, 2);
  std::vector<Scalar> expected;
  for (const Variable* v : {&a, &b})
    for (const float x : v->value().to_vector()) expected.emplace_back(x);
  Adamw adamw({&a, &b}, options);
  for (int t = 1; t <= 120; ++t) {
    const double lr_scale = t <= 10 ? t / 10.0 : 1;
    const Tensor ga = random_tensor({3, 7}, 100 + t, 1, 0.3f), gb = random_tensor({5}, 900 + t);
    Floats g = ga.to_vector();
    for (const float x : gb.to_vector()) g.push_back(x);
    deliver(a, ga);
    deliver(b, gb);
    adamw.step(lr_scale);
    double square = 0;
    for (size_t i = 0; i < g.size(); ++i) {
      expected[i].step(options, g[i], t, lr_scale);
      square += double{g[i]} * g[i];
    }
    EXPECT_NEAR(adamw.gradient_rms(), std::sqrt(square / static_cast<double>(g.size())), 1e-5);
  }
  EXPECT_EQ(adamw.steps(), 120);
  const auto compare = [&](auto field, const char* what) {
    Floats actual = a.value().to_vector();
    for (const float x : b.value().to_vector()) actual.push_back(x);
    for (size_t i = 0; i < actual.size(); ++i)
      EXPECT_NEAR(actual[i], expected[i].*field, 2e-5) << what << " " << i;
  };
  compare(&Scalar::p, "parameter");
  adamw.swap_ema();
  compare(&Scalar::ema, "average");
  adamw.swap_ema();
  compare(&Scalar::p, "parameter after swapping back");
}

TEST(Adamw, TheAverageWarmsUp) {
  Variable p = Tensor::full({1}, 1);
  Adamw adamw({&p}, {.lr = 0.5, .ema_decay = 0.9999});
  deliver(p, Tensor::full({1}, 1));
  adamw.step();  // moves by lr: 1 -> 0.5; decay (1 + 1) / (10 + 1)
  EXPECT_NEAR(p.value().to_vector()[0], 0.5, 1e-6);
  EXPECT_NEAR(adamw.ema().to_vector()[0], 2.0 / 11 * 1 + 9.0 / 11 * 0.5, 1e-6);
}

TEST(Adamw, TheArenaKeepsValuesAndShapes) {
  Variable a = random_tensor({2, 3, 3, 5}, 1), b = random_tensor({1}, 2),
           c = random_tensor({33}, 3);
  const Floats va = a.value().to_vector(), vb = b.value().to_vector(), vc = c.value().to_vector();
  Adamw adamw({&a, &b, &c}, {});
  EXPECT_EQ(a.value().to_vector(), va);
  EXPECT_EQ(b.value().to_vector(), vb);
  EXPECT_EQ(c.value().to_vector(), vc);
  EXPECT_EQ(a.shape(), Shape({2, 3, 3, 5}));
  for (const Variable* v : {&a, &b, &c}) {
    EXPECT_TRUE(v->needs_gradient());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(v->value().data()) % 64, 0u);
  }
  adamw.swap_ema();  // no step yet: the average is the start
  EXPECT_EQ(a.value().to_vector(), va);
}

TEST(Adamw, AParameterWithoutGradientOnlyDecays) {
  Variable used = Tensor::full({2}, 1), unused = Tensor::full({2}, 1);
  Adamw adamw({&used, &unused}, {.lr = 0.1, .weight_decay = 0.5});
  deliver(used, Tensor::full({2}, 1));
  adamw.step();
  EXPECT_NEAR(used.value().to_vector()[0], 1 - 0.05 - 0.1, 1e-6);
  EXPECT_NEAR(unused.value().to_vector()[0], 1 - 0.05, 1e-6);
}

TEST(Adamw, AStepClearsTheGradients) {
  Variable p = Tensor::full({2}, 1);
  Adamw adamw({&p}, {.lr = 0.1});
  deliver(p, Tensor::full({2}, 1));
  EXPECT_TRUE(p.gradient());
  adamw.step();
  EXPECT_FALSE(p.gradient());
}

TEST(Adamw, GradientsAreComputedInTheArenaAlsoOfWeightsUsedTwice) {
  Variable w = random_tensor({4, 6}, 1), b = random_tensor({4}, 2);
  const Variable plain_w = Variable::leaf(w.value().clone()),
                 plain_b = Variable::leaf(b.value().clone());
  Adamw adamw({&w, &b}, {});
  const Variable x = random_tensor({3, 6}, 3), x2 = random_tensor({3, 6}, 4);
  const Tensor seed = random_tensor({3, 4}, 5);
  const auto once = [&](const Variable& w, const Variable& b) {
    backward(linear(x, w, b, {}), seed);
  };
  once(w, b);
  once(plain_w, plain_b);
  EXPECT_EQ(w.gradient().whole().numel(), adamw.values().numel());
  EXPECT_EQ(b.gradient().whole().numel(), adamw.values().numel());
  EXPECT_EQ(w.gradient().to_vector(), plain_w.gradient().to_vector());
  EXPECT_EQ(b.gradient().to_vector(), plain_b.gradient().to_vector());
  // Before these are cleared, more arrives.
  const auto twice = [&](const Variable& w, const Variable& b) {
    backward(linear(x2, w, b, linear(x, w, b, {})), seed);
  };
  twice(w, b);
  twice(plain_w, plain_b);
  EXPECT_EQ(w.gradient().to_vector(), plain_w.gradient().to_vector());
  EXPECT_EQ(b.gradient().to_vector(), plain_b.gradient().to_vector());
  // A sum of gradients is no longer in the arena, and the step still sees it: of a gradient g,
  // m is 0.1 g after it.
  const Floats gradient = w.gradient().to_vector();
  adamw.step();
  const Floats m = adamw.m().view(0, w.shape()).to_vector();
  for (size_t i = 0; i < m.size(); ++i) EXPECT_NEAR(m[i], 0.1f * gradient[i], 1e-6f);
  // And the home is free again.
  once(w, b);
  EXPECT_EQ(w.gradient().whole().numel(), adamw.values().numel());
}

TEST(Adamw, WeightsOfTheArenaAreCastAtOnce) {
  Variable a = random_tensor({8, 8}, 1).to(Target::emu), b = random_tensor({16}, 2).to(Target::emu);
  Adamw adamw({&a, &b}, {.lr = 0.5});
  const Tensor a16 = weight_as(a.value(), Dtype::bf16), b16 = weight_as(b.value(), Dtype::bf16);
  EXPECT_EQ(a16.whole().data<kernels::bf16>(), b16.whole().data<kernels::bf16>());
  EXPECT_EQ(b16.to_vector(), cast(b.value(), Dtype::bf16).to_vector());
  deliver(b, Tensor::full(b.shape(), 1, Target::emu));
  adamw.step();
  EXPECT_NE(weight_as(b.value(), Dtype::bf16).to_vector(), b16.to_vector());
}

TEST(Adamw, ASecondStepSeesTheNewWeights) {
  // A convolution remembers its packed weight; an optimiser step must invalidate it.
  Variable w = random_tensor({32, 3, 3, 32}, 1, 0.1f);
  Adamw adamw({&w}, {.lr = 0.1});
  const Variable x = random_tensor({1, 8, 8, 32}, 2);
  const Floats before = conv2d(x, {}, w, {}, {}).value().to_vector();
  deliver(w, Tensor::full(w.shape(), 1));
  adamw.step();
  const Floats after = conv2d(x, {}, w, {}, {}).value().to_vector();
  EXPECT_NE(before, after);
  EXPECT_EQ(after, conv2d(x, {}, w.value().clone(), {}, {}).value().to_vector());
}

TEST(Adamw, NeedsAParameter) {
  EXPECT_THROW(Adamw({}, {}), Error);
}

}  // namespace
}  // namespace diffscm
