#include "autograd/functions.h"

#include <algorithm>

#include "tests/autograd/gradient_check.h"
#include "tests/kernels/conv2d_reference.h"
#include "tests/reference.h"

namespace diffscm {
namespace {

namespace reference = kernels::reference;
using testing::check_gradients;
using testing::Doubles;
using testing::GradientCheck;
using testing::random_tensor;
using Inputs = std::vector<Variable>;

// Nonlinear functions that have a double reference: exact up to f32 gradients.
GradientCheck against(testing::Reference reference) {
  return {.reference = std::move(reference), .step = 1e-5, .tolerance = 1e-4};
}
// Nonlinear functions compared with themselves in f32.
const GradientCheck kOwnDifferences{.step = 2e-3, .tolerance = 5e-3};

testing::Operator conv2d_with(const Conv2dOptions& options) {
  return [options](const Inputs& in) { return conv2d(in[0], in[1], in[2], in[3], in[4], options); };
}

TEST(FunctionGradients, Conv2d) {
  const auto check = [](Shape x, int64_t c1, int64_t k, int64_t r, bool bias, bool residual,
                        Conv2dOptions options) {
    SCOPED_TRACE(fmt::format("x {} c1 {} k {} r {} bias {} residual {} stride {} upsample {}",
                             to_string(x), c1, k, r, bias, residual, options.stride,
                             options.upsample));
    Shape x1 = x;
    x1[3] = c1;
    const int64_t factor = options.upsample ? 2 : 1;
    const auto out = [&](int64_t side) { return (side * factor - 1) / options.stride + 1; };
    check_gradients(
        conv2d_with(options),
        {random_tensor(x, 1), c1 > 0 ? random_tensor(x1, 2) : Tensor(),
         random_tensor({k, r, r, x[3] + c1}, 3), bias ? random_tensor({k}, 4) : Tensor(),
         residual ? random_tensor({x[0], out(x[1]), out(x[2]), k}, 5) : Tensor()});
  };
  check({2, 5, 6, 3}, 0, 4, 3, true, false, {});
  check({2, 8, 8, 32}, 0, 32, 3, true, true, {});
  check({1, 7, 7, 16}, 16, 32, 3, true, true, {});
  check({2, 4, 5, 3}, 2, 5, 1, true, false, {});
  check({2, 6, 6, 8}, 0, 4, 1, false, true, {});
  check({2, 7, 8, 32}, 0, 32, 3, true, false, {.stride = 2});
  check({2, 4, 4, 32}, 0, 32, 3, true, false, {.upsample = true});
  check({1, 3, 5, 5}, 0, 3, 3, true, true, {.upsample = true});
}

TEST(FunctionGradients, GroupNorm) {
  struct Case {
    int64_t n, c0, c1, groups;
    bool scale_shift, silu;
  };
  for (const Case& c : {Case{2, 8, 0, 4, false, false}, Case{2, 32, 0, 32, true, true},
                        Case{3, 20, 12, 8, true, true}, Case{1, 6, 10, 4, false, true},
                        Case{2, 8, 0, 2, true, false}}) {
    SCOPED_TRACE(fmt::format("n {} channels {} + {} groups {} scale_shift {} silu {}", c.n, c.c0,
                             c.c1, c.groups, c.scale_shift, c.silu));
    const int64_t h = 3, w = 4, channels = c.c0 + c.c1;
    const auto join = [=](const std::vector<Doubles>& in) {
      reference::GroupNorm g{c.n, h * w, channels, c.groups, 1e-5, c.silu,
                             {},  in[2], in[3],    in[4],    {}};
      for (int64_t pixel = 0; pixel < c.n * h * w; ++pixel) {
        for (int64_t i = 0; i < c.c0; ++i) g.x.push_back(in[0][pixel * c.c0 + i]);
        for (int64_t i = 0; i < c.c1; ++i) g.x.push_back(in[1][pixel * c.c1 + i]);
      }
      return reference::group_norm(g).y;
    };
    check_gradients(
        [&](const Inputs& in) {
          return group_norm(in[0], in[1], in[2], in[3], in[4],
                            {.groups = c.groups, .silu = c.silu});
        },
        {random_tensor({c.n, h, w, c.c0}, 1, 1.5f, 0.7f),
         c.c1 > 0 ? random_tensor({c.n, h, w, c.c1}, 2) : Tensor(), random_tensor({channels}, 3),
         random_tensor({channels}, 4),
         c.scale_shift ? random_tensor({c.n, 2 * channels}, 5) : Tensor()},
        against(join));
  }
}

TEST(FunctionGradients, GroupNormWithDropout) {
  const kernels::Dropout dropout{0.3f, {5, kernels::Purpose::dropout, 1}, 0};
  const auto f = [&](const Inputs& in) {
    return group_norm(in[0], {}, in[1], in[2], in[3],
                      {.groups = 4, .silu = true, .dropout = dropout});
  };
  const std::vector<Tensor> inputs{random_tensor({2, 5, 5, 8}, 1), random_tensor({8}, 2),
                                   random_tensor({8}, 3), random_tensor({2, 16}, 4)};
  const std::vector<float> y = f({inputs.begin(), inputs.end()}).value().to_vector();
  const auto zeros = std::count(y.begin(), y.end(), 0.0f);
  EXPECT_GT(zeros, 70);  // 0.3 of 400, within 5 standard deviations
  EXPECT_LT(zeros, 170);
  check_gradients(f, inputs, kOwnDifferences);
}

TEST(FunctionGradients, Linear) {
  const auto f = [](const Inputs& in) { return linear(in[0], in[1], in[2], in[3]); };
  check_gradients(
      f, {random_tensor({5, 7}, 1), random_tensor({3, 7}, 2), random_tensor({3}, 3), Tensor()});
  check_gradients(f, {random_tensor({2, 9, 32}, 1), random_tensor({64, 32}, 2), Tensor(),
                      random_tensor({2, 9, 64}, 3)});
  check_gradients(f, {random_tensor({1, 1, 4}, 1), random_tensor({1, 4}, 2), random_tensor({1}, 3),
                      random_tensor({1, 1, 1}, 4)});
}

// One input, several layers, the second without a bias; nobody asks what the third gives.
TEST(FunctionGradients, LinearGroup) {
  const auto f = [](const Inputs& in) {
    const auto y = linear_group(in[0], {{in[1], in[2]}, {in[3], {}}, {in[1], {}}});
    return add(y[0], scale(y[1], 0.5f));
  };
  check_gradients(f, {random_tensor({5, 7}, 1), random_tensor({3, 7}, 2), random_tensor({3}, 3),
                      random_tensor({3, 7}, 4)});
}

// Each branch's gradient is added to what the others gave, whichever comes first.
TEST(FunctionGradients, GroupNormOfBranches) {
  const auto f = [](const Inputs& in) {
    const GroupNormOptions options{.groups = 2, .silu = true};
    const Variable first = group_norm(in[0], in[1], in[2], in[3], {}, options);
    const Variable second = group_norm(in[0], in[0], in[2], in[3], {}, options);
    return add(add(first, second), group_norm(in[1], in[0], in[2], in[3], {}, options));
  };
  check_gradients(f,
                  {random_tensor({2, 3, 3, 4}, 1), random_tensor({2, 3, 3, 4}, 2),
                   random_tensor({8}, 3), random_tensor({8}, 4)},
                  kOwnDifferences);
}

TEST(FunctionGradients, Attention) {
  struct Case {
    int64_t n, tokens, queries, channels, heads;
    kernels::QkvLayout layout;
  };
  for (const Case& c : {Case{2, 9, 9, 16, 1, kernels::QkvLayout::per_head},
                        Case{2, 9, 9, 12, 3, kernels::QkvLayout::per_head},
                        Case{3, 10, 1, 16, 2, kernels::QkvLayout::chunked},
                        Case{1, 49, 49, 64, 1, kernels::QkvLayout::per_head}}) {
    SCOPED_TRACE(fmt::format("tokens {} queries {} heads {}", c.tokens, c.queries, c.heads));
    check_gradients(
        [&](const Inputs& in) { return attention(in[0], c.heads, c.layout, c.queries); },
        {random_tensor({c.n, c.tokens, 3 * c.channels}, 1)}, against([&](const auto& in) {
          return reference::attention(
                     {c.n, c.tokens, c.queries, c.channels, c.heads, c.layout, in[0]})
              .out;
        }));
  }
}

TEST(FunctionGradients, Pooling) {
  check_gradients([](const Inputs& in) { return pool_tokens(in[0], in[1]); },
                  {random_tensor({2, 3, 3, 8}, 1), random_tensor({10, 8}, 2)});
  check_gradients([](const Inputs& in) { return avg_pool(in[0]); },
                  {random_tensor({2, 4, 6, 3}, 1)});
  // The odd last row and column are dropped: their gradient is zero.
  check_gradients([](const Inputs& in) { return avg_pool(in[0]); },
                  {random_tensor({2, 7, 5, 3}, 1)});
}

TEST(FunctionGradients, MaxPool) {
  check_gradients([](const Inputs& in) { return max_pool(in[0]); },
                  {random_tensor({2, 7, 6, 3}, 1)},
                  against([](const auto& in) { return reference::max_pool(2, 7, 6, 3, in[0]).y; }));
}

TEST(FunctionGradients, GaussianLatent) {
  const Tensor noise = random_tensor({3, 4}, 9);
  check_gradients([&](const Inputs& in) { return gaussian_latent(in[0], noise).z; },
                  {random_tensor({3, 8}, 1)}, against([&](const auto& in) {
                    return reference::gaussian_latent(3, 4, in[0], testing::to_doubles(noise)).z;
                  }));
  check_gradients([&](const Inputs& in) { return gaussian_latent(in[0], noise).kl; },
                  {random_tensor({3, 8}, 1)}, against([&](const auto& in) {
                    return reference::gaussian_latent(3, 4, in[0], testing::to_doubles(noise)).kl;
                  }));
}

TEST(FunctionGradients, Elementwise) {
  check_gradients([](const Inputs& in) { return scale(in[0], -2.5f); }, {random_tensor({3, 4}, 1)});
  check_gradients([](const Inputs& in) { return relu(in[0]); }, {random_tensor({3, 11}, 1)},
                  against([](const auto& in) {
                    Doubles y = in[0];
                    for (double& v : y) v = std::max(v, 0.0);
                    return y;
                  }));
  check_gradients([](const Inputs& in) { return silu(in[0]); }, {random_tensor({3, 11}, 1, 2)},
                  against([](const auto& in) { return reference::silu(in[0]); }));
  check_gradients([](const Inputs& in) { return add(in[0], in[1]); },
                  {random_tensor({3, 4}, 1), random_tensor({3, 4}, 2)});
  check_gradients([](const Inputs& in) { return negate(in[0]); }, {random_tensor({3, 4}, 1)});
  check_gradients(
      [](const Inputs& in) {
        return reshape(in[0], {6, 2});
      },
      {random_tensor({3, 4}, 1)});
}

TEST(FunctionGradients, Losses) {
  const Tensor target = random_tensor({3, 2, 2, 1}, 9);
  check_gradients([&](const Inputs& in) { return mse_loss(in[0], target); },
                  {random_tensor({3, 2, 2, 1}, 1)}, against([&](const auto& in) {
                    return reference::mse(3, 4, 1, in[0], testing::to_doubles(target)).loss;
                  }));
  const std::vector<float> weights{0.5f, 0, 3};
  check_gradients(
      [&](const Inputs& in) { return mse_loss(in[0], target, Tensor::from(weights, {3})); },
      {random_tensor({3, 2, 2, 1}, 1)}, against([&](const auto& in) {
        Doubles loss = reference::mse(3, 4, 1, in[0], testing::to_doubles(target)).loss;
        for (size_t n = 0; n < 3; ++n) loss[n] *= double{weights[n]};
        return loss;
      }));
  // An early, a middle and the last step; eps and the truth want no gradient.
  const Tensor eps = random_tensor({3, 2, 2, 1}, 2), x_t = random_tensor({3, 2, 2, 1}, 3, 0.5f);
  const Tensor steps = Tensor::from(
      std::vector<float>{0.01f, -4, 0.02f, 0, 0.3f, -9, 0.01f, 0, 0.6f, -9.8f, 0.01f, 1}, {3, 4});
  check_gradients(
      [&](const Inputs& in) { return variational_bound(eps, in[0], target, x_t, steps); },
      {random_tensor({3, 2, 2, 1}, 1)}, against([&](const auto& in) {
        using testing::to_doubles;
        return reference::variational_bound(3, 4, 1, to_doubles(eps), in[0], to_doubles(target),
                                            to_doubles(x_t), to_doubles(steps))
            .loss;
      }));
  const std::vector<int64_t> labels{4, 0, 2};
  check_gradients([&](const Inputs& in) { return log_softmax_at(in[0], labels); },
                  {random_tensor({3, 5}, 1, 3)}, against([&](const auto& in) {
                    return reference::log_softmax(3, 5, 1, in[0], labels).log_p;
                  }));
}

// What autograd adds to the operators: their order, reuse of values, and mixed shapes.
TEST(FunctionGradients, AChainOfEverythingThatReusesItsInput) {
  const auto f = [](const Inputs& in) {
    const Variable h = group_norm(in[0], in[0], in[1], in[1], {}, {.groups = 4, .silu = true});
    const Variable y = conv2d(h, {}, in[2], {}, in[0]);
    return add(silu(y), negate(add(y, in[0])));
  };
  check_gradients(
      f,
      {random_tensor({2, 4, 4, 4}, 1), random_tensor({8}, 2), random_tensor({4, 3, 3, 8}, 3, 0.2f)},
      {.step = 2e-3, .tolerance = 5e-3});
}

TEST(Functions, TimestepEmbeddingHasCosinesFirst) {
  const Tensor y = timestep_embedding(Tensor::from(std::vector<float>{0, 999}, {2}), 32);
  const Doubles expected = reference::timestep_embedding(32, {0, 999});
  const std::vector<float> actual = y.to_vector();
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(actual[i], expected[i], 1e-4) << i;
  EXPECT_EQ(actual[0], 1);
  EXPECT_EQ(actual[16], 0);
}

TEST(Functions, ShapesThatDoNotFitAreErrors) {
  const auto t = [](Shape shape) { return Variable(Tensor::zeros(std::move(shape))); };
  const Variable x = t({2, 4, 4, 8}), w = t({8, 3, 3, 8});
  EXPECT_THROW(conv2d(t({2, 4, 8}), {}, w, {}, {}), Error);
  EXPECT_THROW(conv2d(x, {}, t({8, 3, 3, 9}), {}, {}), Error);
  EXPECT_THROW(conv2d(x, {}, t({8, 5, 5, 8}), {}, {}), Error);
  EXPECT_THROW(conv2d(x, t({2, 4, 5, 8}), t({8, 3, 3, 16}), {}, {}), Error);
  EXPECT_THROW(conv2d(x, {}, w, t({7}), {}), Error);
  EXPECT_THROW(conv2d(x, {}, w, {}, t({2, 4, 4, 7})), Error);
  EXPECT_THROW(conv2d(x, {}, w, {}, {}, {.stride = 3}), Error);
  EXPECT_THROW(conv2d(t({2, 0, 4, 8}), {}, w, {}, {}), Error);

  const Variable c8 = t({8});
  EXPECT_THROW(group_norm(x, {}, t({9}), c8, {}, {.groups = 4}), Error);
  EXPECT_THROW(group_norm(x, {}, c8, c8, {}, {.groups = 3}), Error);
  EXPECT_THROW(group_norm(x, {}, c8, c8, {}, {.groups = 0}), Error);
  EXPECT_THROW(group_norm(x, {}, c8, c8, t({2, 8}), {.groups = 4}), Error);
  EXPECT_THROW(group_norm(x, t({2, 4, 3, 8}), t({16}), t({16}), {}, {.groups = 4}), Error);
  EXPECT_THROW(group_norm(t({0, 4, 8}), {}, c8, c8, {}, {.groups = 4}), Error);

  EXPECT_THROW(linear(x, t({3, 7}), {}), Error);
  EXPECT_THROW(linear(x, t({3, 8}), t({4})), Error);
  EXPECT_THROW(linear(x, t({3, 8}), {}, x), Error);
  EXPECT_THROW(linear_group(x, {{t({3, 8}), {}}, {t({3, 7}), {}}}), Error);
  EXPECT_THROW(linear_group(x, {{t({3, 8}), t({4})}}), Error);

  EXPECT_THROW(attention(t({2, 9, 16}), 1, kernels::QkvLayout::per_head, 9), Error);
  EXPECT_THROW(attention(t({2, 9, 24}), 3, kernels::QkvLayout::per_head, 9), Error);
  EXPECT_THROW(attention(t({2, 9, 24}), 1, kernels::QkvLayout::per_head, 10), Error);

  EXPECT_THROW(pool_tokens(x, t({16, 8})), Error);
  EXPECT_THROW(avg_pool(t({4, 4, 8})), Error);
  EXPECT_THROW(max_pool(t({4, 4, 8})), Error);
  EXPECT_THROW(gaussian_latent(t({2, 8}), Tensor::zeros({2, 3})), Error);
  EXPECT_THROW(add(x, w), Error);
  EXPECT_THROW(reshape(x, {5}), Error);
  EXPECT_THROW(mse_loss(x, Tensor::zeros({2, 4, 4, 7})), Error);
  EXPECT_THROW(mse_loss(t({0, 3}), Tensor::zeros({0, 3})), Error);
  EXPECT_THROW(mse_loss(t({2, 3}), Tensor::zeros({2, 3}), Tensor::zeros({3})), Error);
  const Tensor y = Tensor::zeros({2, 3}), steps = Tensor::zeros({2, 4});
  EXPECT_NO_THROW(variational_bound(y, y, y, y, steps));
  EXPECT_THROW(variational_bound(y, t({2, 4}), y, y, steps), Error);
  EXPECT_THROW(variational_bound(y, y, y, Tensor::zeros({3, 2}), steps), Error);
  EXPECT_THROW(variational_bound(y, y, y, y, Tensor::zeros({2, 3})), Error);
  EXPECT_THROW(log_softmax_at(t({2, 5}), {1}), Error);
  EXPECT_THROW(log_softmax_at(t({2, 5}), {1, 5}), Error);
  EXPECT_THROW(log_softmax_at(t({2, 5}), {-1, 0}), Error);
}

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
TEST(Functions, PooledGroupNormIsPoolingOfBoth) {
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
TEST(Functions, Conv2dOfAnotherDtypeIsThatBetweenCasts) {
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
  EXPECT_EQ(joined, apart);
  const Variable x = in[0];
  EXPECT_THROW(
      conv2d(x, x, random_tensor({16, 3, 3, 2}, 2).to(Target::emu), {}, {}, {}, Dtype::bf16),
      Error);
}

TEST(Functions, NormalisedConv2dIsBothInOneWhereNothingIsRecorded) {
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

TEST(Functions, NormalisedConv2dAddsAShortcut) {
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
TEST(Functions, NormalisedConv2dHasGradientsOfItsInputs) {
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
TEST(Functions, Conv2dSeesAChangedWeight) {
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
