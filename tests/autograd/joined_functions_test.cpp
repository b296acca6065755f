// Functions that do in one what others do in several: the same values and gradients. In bf16, on
// emu.
#include <algorithm>

#include "autograd/functions.h"
#include "tests/autograd/gradient_check.h"
#include "tests/kernels/conv2d_reference.h"
#include "tests/reference.h"

namespace diffscm {
namespace {

namespace reference = kernels::reference;
using testing::Doubles;
using testing::random_tensor;
using Inputs = std::vector<Variable>;

// Values and gradients of a network in bf16, on emu.
std::vector<std::vector<float>> with_gradients(const std::function<Variable(const Inputs&)>& f,
                                               const std::vector<Tensor>& values) {
  Inputs inputs;
  for (const Tensor& v : values) inputs.push_back(Variable::leaf(v));
  const Variable y = f(inputs);
  std::vector<std::vector<float>> all{y.value().to_vector()};
  const Variable seed = random_tensor(y.shape(), 9).to(Target::emu);
  backward(y, cast(seed, y.value().dtype()).value());
  for (const Variable& x : inputs) all.push_back(x.gradient().to_vector());
  return all;
}

// Whoever asks for one result only, or also for the image itself, gets the gradients of the two
// functions.
TEST(JoinedFunctions, PooledGroupNormIsPoolingOfBoth) {
  const auto on_emu = [](Shape shape, uint32_t seed) {
    return random_tensor(std::move(shape), seed).to(Target::emu);
  };
  const std::vector<Tensor> in{cast(Variable(on_emu({2, 6, 5, 16}, 1)), Dtype::bf16).value(),
                               on_emu({16}, 2), on_emu({16}, 3)};
  const GroupNormOptions norm{.groups = 4, .silu = true};
  const auto compare = [&](const char* name, auto f) {
    SCOPED_TRACE(name);
    const auto apart = with_gradients(
        [&](const Inputs& x) {
          return f(PooledNorm{avg_pool(group_norm(x[0], {}, x[1], x[2], {}, norm)), avg_pool(x[0])},
                   x[0]);
        },
        in);
    const auto joined = with_gradients(
        [&](const Inputs& x) { return f(pooled_group_norm(x[0], x[1], x[2], norm), x[0]); }, in);
    for (size_t k = 0; k < joined.size(); ++k) {
      float largest = 0;
      for (const float v : apart[k]) largest = std::max(largest, std::abs(v));
      ASSERT_EQ(joined[k].size(), apart[k].size());
      for (size_t i = 0; i < joined[k].size(); ++i)
        EXPECT_NEAR(joined[k][i], apart[k][i], 0.01f * largest) << "of " << k << ", element " << i;
    }
  };
  compare("both", [](const PooledNorm& r, const Variable&) { return add(r.normalised, r.x); });
  compare("the image, too", [](const PooledNorm& r, const Variable& x) {
    return add(add(avg_pool(scale(x, 0.5f)), r.x), r.normalised);
  });
  compare("the normalised one", [](const PooledNorm& r, const Variable&) { return r.normalised; });
}

// The first and the last convolution are those in f32, between casts that they save.
TEST(JoinedFunctions, Conv2dOfAnotherDtypeIsThatBetweenCasts) {
  const std::vector<Tensor> in{random_tensor({2, 5, 6, 1}, 1).to(Target::emu),
                               random_tensor({16, 3, 3, 1}, 2).to(Target::emu),
                               random_tensor({16}, 3).to(Target::emu),
                               random_tensor({3, 3, 3, 16}, 4).to(Target::emu)};
  const auto joined = with_gradients(
      [](const Inputs& x) {
        const Variable h = conv2d(x[0], {}, x[1], x[2], {}, {}, Dtype::bf16);
        EXPECT_EQ(h.value().dtype(), Dtype::bf16);
        return conv2d(silu(h), {}, x[3], {}, {}, {}, Dtype::f32);
      },
      in);
  const auto apart = with_gradients(
      [](const Inputs& x) {
        const Variable h = cast(conv2d(x[0], {}, x[1], x[2], {}), Dtype::bf16);
        return conv2d(cast(silu(h), Dtype::f32), {}, x[3], {}, {});
      },
      in);
  // The result, and the gradients of x, the first weight, its bias and the last weight. Those of
  // weights are sums in another order.
  ASSERT_EQ(joined.size(), 5);
  for (const size_t i : {0, 1, 3}) EXPECT_EQ(joined[i], apart[i]) << i;
  for (const size_t i : {2, 4})
    for (size_t j = 0; j < apart[i].size(); ++j)
      EXPECT_NEAR(joined[i][j], apart[i][j], 1e-4) << i << ", element " << j;
  const Variable x = in[0];
  EXPECT_THROW(
      conv2d(x, x, random_tensor({16, 3, 3, 2}, 2).to(Target::emu), {}, {}, {}, Dtype::bf16),
      Error);
}

TEST(JoinedFunctions, NormalisedConv2dIsBothInOneWhereNothingIsRecorded) {
  const auto on_emu = [](Shape shape, uint32_t seed) {
    return random_tensor(std::move(shape), seed).to(Target::emu);
  };
  const Variable x = cast(on_emu({2, 6, 5, 24}, 1), Dtype::bf16);
  const Variable x1 = cast(on_emu({2, 6, 5, 8}, 2), Dtype::bf16);
  const Variable residual = cast(on_emu({2, 6, 5, 16}, 3), Dtype::bf16);
  const Variable gamma = on_emu({32}, 4), beta = on_emu({32}, 5), scale_shift = on_emu({2, 64}, 6);
  const Variable weight = Variable::leaf(on_emu({16, 3, 3, 32}, 7)), bias = on_emu({16}, 8);
  const GroupNormOptions norm{.groups = 4, .silu = true};
  const auto run = [&] {
    return normalised_conv2d(x, x1, gamma, beta, scale_shift, norm, weight, bias, residual);
  };
  const std::vector<float> apart =
      conv2d(group_norm(x, x1, gamma, beta, scale_shift, norm), {}, weight, bias, residual)
          .value()
          .to_vector();
  EXPECT_EQ(run().value().to_vector(), apart);  // recorded
  const NoGrad no_grad;
  const std::vector<float> joined = run().value().to_vector();
  const auto largest = *std::max_element(apart.begin(), apart.end());
  for (size_t i = 0; i < apart.size(); ++i) EXPECT_NEAR(joined[i], apart[i], 0.01 * largest) << i;

  const Variable c9 = on_emu({9}, 4);
  try {
    normalised_conv2d(x, x1, c9, beta, scale_shift, norm, weight, bias, residual);
    FAIL() << "gamma of 9 channels";
  } catch (const Error& e) {  // and group_norm was not asked
    EXPECT_NE(std::string(e.what()).find("normalised_conv2d: gamma [9]"), std::string::npos)
        << e.what();
  }
  EXPECT_THROW(normalised_conv2d(x, x1, gamma, beta, gamma, norm, weight, bias, residual), Error);
  EXPECT_THROW(normalised_conv2d(x, x1, gamma, beta, scale_shift, norm, weight, c9, residual),
               Error);
  EXPECT_THROW(normalised_conv2d(x, x1, gamma, beta, scale_shift, norm, weight, bias, x), Error);
}

TEST(JoinedFunctions, NormalisedConv2dAddsAShortcut) {
  const auto on_emu = [](Shape shape, uint32_t seed) {
    return random_tensor(std::move(shape), seed).to(Target::emu);
  };
  const Variable x = cast(on_emu({2, 6, 5, 16}, 1), Dtype::bf16);
  const Variable gamma = on_emu({16}, 2), beta = on_emu({16}, 3);
  const Variable weight = Variable::leaf(on_emu({16, 3, 3, 16}, 4)), bias = on_emu({16}, 5);
  const Shortcut shortcut{cast(on_emu({2, 6, 5, 24}, 6), Dtype::bf16),
                          cast(on_emu({2, 6, 5, 8}, 7), Dtype::bf16), on_emu({16, 1, 1, 32}, 8),
                          on_emu({16}, 9)};
  const GroupNormOptions norm{.groups = 4, .silu = true};
  const auto run = [&](const Variable& residual, const Shortcut& added) {
    return normalised_conv2d(x, {}, gamma, beta, {}, norm, weight, bias, residual, {}, added);
  };
  const Variable residual = conv2d(shortcut.x, shortcut.x1, shortcut.weight, shortcut.bias, {});
  const std::vector<float> apart = run(residual, {}).value().to_vector();
  EXPECT_EQ(run({}, shortcut).value().to_vector(), apart);  // recorded
  EXPECT_THROW(run(residual, shortcut), Error);
  const NoGrad no_grad;
  const std::vector<float> joined = run({}, shortcut).value().to_vector();
  EXPECT_NE(joined, run(residual, {}).value().to_vector()) << "bf16 lies between them";
  const auto largest = *std::max_element(apart.begin(), apart.end());
  for (size_t i = 0; i < apart.size(); ++i) EXPECT_NEAR(joined[i], apart[i], 0.01 * largest) << i;

  EXPECT_THROW(run(residual, shortcut), Error);
  const auto with = [&](auto change) {
    Shortcut changed = shortcut;
    change(changed);
    run({}, changed);
  };
  EXPECT_THROW(with([&](Shortcut& s) { s.x1 = {}; }), Error);
  EXPECT_THROW(with([&](Shortcut& s) { s.weight = on_emu({8, 1, 1, 32}, 8); }), Error);
  EXPECT_THROW(with([&](Shortcut& s) { s.weight = on_emu({16, 3, 3, 32}, 8); }), Error);
  EXPECT_THROW(with([&](Shortcut& s) { s.bias = on_emu({8}, 9); }), Error);
  EXPECT_THROW(with([&](Shortcut& s) {
                 s.x = cast(on_emu({2, 5, 6, 24}, 6), Dtype::bf16);
                 s.x1 = cast(on_emu({2, 5, 6, 8}, 7), Dtype::bf16);
               }),
               Error);
}

// Where no parameter learns, as in guidance, a recorded convolution joins, too: its gradients are
// those of the two operators, and of both references in double.
TEST(JoinedFunctions, NormalisedConv2dHasGradientsOfItsInputs) {
  const auto on_emu = [](Shape shape, uint32_t seed) {
    return random_tensor(std::move(shape), seed).to(Target::emu);
  };
  const auto stored = [](const Tensor& x) { return cast(Variable(x), Dtype::bf16).value(); };
  const std::vector<Tensor> in{stored(on_emu({2, 6, 5, 24}, 1)), stored(on_emu({2, 6, 5, 8}, 2)),
                               stored(on_emu({2, 6, 5, 16}, 3)), stored(on_emu({2, 6, 5, 8}, 4))};
  const Variable gamma = on_emu({32}, 5), beta = on_emu({32}, 6), scale_shift = on_emu({2, 64}, 7);
  const Variable bias = on_emu({16}, 8), cut_weight = stored(on_emu({16, 1, 1, 24}, 9));
  const Tensor weight = stored(on_emu({16, 3, 3, 32}, 10));
  const GroupNormOptions norm{.groups = 4, .silu = true};
  // x is both normalised and what a block begins with: its gradient is a sum.
  const auto with = [&](const Inputs& x, const Variable& learned) {
    const Variable h = normalised_conv2d(x[0], x[1], gamma, beta, scale_shift, norm, learned, bias,
                                         {}, {}, {x[2], x[3], cut_weight, bias});
    return add(h, normalised_conv2d(x[0], x[1], gamma, beta, {}, norm, learned, {}, x[2]));
  };
  const auto joined = with_gradients([&](const Inputs& x) { return with(x, weight); }, in);
  const auto apart =
      with_gradients([&](const Inputs& x) { return with(x, Variable::leaf(weight)); }, in);
  EXPECT_NE(joined[0], apart[0]) << "nothing was joined";
  for (size_t k = 0; k < joined.size(); ++k) {
    float largest = 0;
    for (const float v : apart[k]) largest = std::max(largest, std::abs(v));
    for (size_t i = 0; i < joined[k].size(); ++i)
      EXPECT_NEAR(joined[k][i], apart[k][i], 0.01f * largest) << "of " << k << ", element " << i;
  }

  const auto once = with_gradients(
      [&](const Inputs& x) {
        return normalised_conv2d(x[0], x[1], gamma, beta, scale_shift, norm, weight, bias, {});
      },
      {in[0], in[1]});
  const std::vector<float> dy = stored(random_tensor({2, 6, 5, 16}, 9).to(Target::emu)).to_vector();
  const kernels::ConvShape shape{.n = 2, .h = 6, .w = 5, .c0 = 32, .k = 16};
  reference::GroupNorm g{2,
                         30,
                         32,
                         4,
                         1e-5,
                         true,
                         {},
                         testing::to_doubles(gamma.value()),
                         testing::to_doubles(beta.value()),
                         testing::to_doubles(scale_shift.value()),
                         {}};
  const std::vector<float> x0 = in[0].to_vector(), x1 = in[1].to_vector();
  for (int64_t pixel = 0; pixel < 60; ++pixel) {
    g.x.insert(g.x.end(), x0.begin() + pixel * 24, x0.begin() + (pixel + 1) * 24);
    g.x.insert(g.x.end(), x1.begin() + pixel * 8, x1.begin() + (pixel + 1) * 8);
  }
  const Doubles dx = reference::group_norm_backward(
                         g, reference::conv2d_backward_input(shape, weight.to_vector(), dy))
                         .dx;
  const double largest = *std::max_element(dx.begin(), dx.end());
  for (int64_t i = 0; i < 60 * 32; ++i) {
    const int64_t pixel = i / 32, c = i % 32;
    const float got = c < 24 ? once[1][pixel * 24 + c] : once[2][pixel * 8 + c - 24];
    EXPECT_NEAR(got, dx[i], 0.01 * largest) << i;
  }
}

// A packed weight is remembered with the weight: changing the weight must change the answer. In
// bf16 that of an enlarged image is packed, from a copy that is remembered, too.
TEST(JoinedFunctions, Conv2dSeesAChangedWeight) {
  const auto check = [](Target target, Dtype dtype, const Conv2dOptions& options) {
    const auto random = [&](std::vector<int64_t> shape, uint32_t seed) {
      return random_tensor(std::move(shape), seed).to(target);
    };
    const Variable x = cast(random({1, 8, 8, 32}, 1), dtype);
    const auto run = [&](const Tensor& w) {
      return conv2d(x, {}, w, {}, {}, options).value().to_vector();
    };
    Tensor w = random({32, 3, 3, 32}, 2);
    const std::vector<float> before = run(w);
    w.copy_from(random({32, 3, 3, 32}, 3));
    const std::vector<float> after = run(w);
    EXPECT_NE(before, after);
    EXPECT_EQ(after, run(random({32, 3, 3, 32}, 3)));
  };
  check(Target::cpu, Dtype::f32, {});
  check(Target::emu, Dtype::bf16, {.upsample = true});
}

}  // namespace
}  // namespace diffscm
