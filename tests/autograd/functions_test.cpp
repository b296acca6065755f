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

}  // namespace
}  // namespace diffscm
