// Several linear layers of one input against the double reference, one layer after the other.
#include "tests/kernels/support.h"
#include "tests/op_cases.h"
#include "tests/reference.h"

namespace diffscm::kernels {
namespace {

using namespace test;

// Inputs and outputs of one case.
struct Problem {
  Array<const float> x;
  std::vector<Array<const float>> weights, biases, dys;

  Problem(const Device& d, const LinearGroupCase& k) : x(d.input(random_floats(k.m * k.k, 1))) {
    for (uint32_t seed = 2; const int64_t out : k.outs) {
      weights.push_back(d.input(random_floats(out * k.k, seed)));
      biases.push_back(d.input(random_floats(out, seed + 1)));
      dys.push_back(d.input(random_floats(k.m * out, seed + 2)));
      seed += 3;
    }
  }
};

std::vector<Floats> forward(const Device& d, const LinearGroupCase& k, const Problem& p) {
  std::vector<Array<float>> y;
  std::vector<LinearGroupArgs::Layer> layers;
  for (size_t l = 0; l < k.outs.size(); ++l) {
    y.push_back(d.output(k.m * k.outs[l]));
    // Every third layer has no bias.
    layers.push_back(
        {k.outs[l], p.weights[l], l % 3 == 2 ? nullptr : p.biases[l].data(), y[l], k.outs[l]});
  }
  d.table.linear_group({k.m, k.k, p.x, static_cast<int64_t>(layers.size()), layers.data()});
  std::vector<Floats> result;
  for (const auto& array : y) result.push_back(array.floats());
  return result;
}

// dx, then dweight and dbias of each layer; nothing where `skip` says so.
std::vector<Floats> backward(const Device& d, const LinearGroupCase& k, const Problem& p,
                             bool skip = false) {
  auto dx = d.output(k.m * k.k);
  std::vector<Array<float>> dweight, dbias;
  std::vector<LinearGroupBackwardArgs::Layer> layers;
  for (size_t l = 0; l < k.outs.size(); ++l) {
    dweight.push_back(d.output(k.outs[l] * k.k));
    dbias.push_back(d.output(k.outs[l]));
    layers.push_back({k.outs[l], p.weights[l], p.dys[l],
                      skip && l % 2 == 0 ? nullptr : dweight[l].data(),
                      skip && l % 3 == 0 ? nullptr : dbias[l].data()});
  }
  d.table.linear_group_backward({k.m, k.k, p.x, static_cast<int64_t>(layers.size()), layers.data(),
                                 skip ? nullptr : dx.data()});
  std::vector<Floats> result{dx.floats()};
  for (size_t l = 0; l < k.outs.size(); ++l) {
    result.push_back(dweight[l].floats());
    result.push_back(dbias[l].floats());
  }
  return result;
}

void check(const Device& d, const LinearGroupCase& k) {
  const Problem p(d, k);
  const auto y = forward(d, k, p), gradients = backward(d, k, p), some = backward(d, k, p, true);
  const reference::Matrix x{p.x.doubles(), k.k};
  Doubles dx(static_cast<size_t>(k.m * k.k));
  for (size_t l = 0; l < k.outs.size(); ++l) {
    const int64_t out = k.outs[l];
    const std::string name = fmt::format("{}, layer {}", k.name, l);
    const Doubles dy = p.dys[l].doubles();
    const Doubles bias = l % 3 == 2 ? Doubles() : p.biases[l].doubles();
    const reference::Matrix weight{p.weights[l].doubles(), k.k}, across{weight.values, k.k, true};
    expect_close(y[l], reference::matmul(k.m, out, k.k, x, across, bias, nullptr), 3e-6, name);
    const reference::Matrix initial{dx, k.k};
    dx = reference::matmul(k.m, k.k, out, {dy, out}, weight, {}, &initial);
    expect_close(gradients[1 + 2 * l],
                 reference::matmul(out, k.k, k.m, {dy, out, true}, x, {}, nullptr), 3e-6,
                 name + " dweight");
    expect_close(gradients[2 + 2 * l], reference::column_sum(k.m, out, dy), 3e-6, name + " dbias");
    if (l % 2 != 0) expect_same_bits(some[1 + 2 * l], gradients[1 + 2 * l], name + " dweight");
    if (l % 3 != 0) expect_same_bits(some[2 + 2 * l], gradients[2 + 2 * l], name + " dbias");
  }
  expect_close(gradients[0], dx, 3e-6, std::string(k.name) + " dx");
}

TARGET_TEST(LinearGroup, MatchesReference) {
  for (const LinearGroupCase& k : d.affordable(linear_group_cases())) {
    check(d, k);
    if (k.work() > 2e4) continue;
    d.offset = 1;
    check(d, k);
    d.offset = 0;
  }
}

TARGET_TEST(LinearGroup, IsReproducible) {
  const LinearGroupCase k{"", 130, 33, {40, 7, 64}};
  const Problem p(d, k);
  expect_reproducible(
      d, [&] { return forward(d, k, p); }, "linear_group");
  expect_reproducible(
      d, [&] { return backward(d, k, p); }, "linear_group_backward");
}

// Side by side in the columns of one matrix.
TARGET_TEST(LinearGroup, RowsMayLieApart) {
  const LinearGroupCase k{"", 9, 12, {5, 8}};
  const Problem p(d, k);
  const auto alone = forward(d, k, p);
  const int64_t ld = 15;
  auto y = d.inout(Floats(static_cast<size_t>(k.m * ld), 7.0f));
  const LinearGroupArgs::Layer layers[] = {{5, p.weights[0], p.biases[0], y, ld},
                                           {8, p.weights[1], p.biases[1], y + 5, ld}};
  d.table.linear_group({k.m, k.k, p.x, 2, layers});
  const Floats all = y.floats();
  for (int64_t i = 0; i < k.m * ld; ++i) {
    const int64_t row = i / ld, column = i % ld;
    EXPECT_EQ(all[i], column < 5    ? alone[0][row * 5 + column]
                      : column < 13 ? alone[1][row * 8 + column - 5]
                                    : 7.0f)
        << i;
  }
}

// One image gives the same result in every batch.
TARGET_TEST(LinearGroup, ARowDoesNotDependOnHowManyThereAre) {
  const LinearGroupCase k{"", 130, 40, {72, 5}};
  const Problem p(d, k);
  const auto all = forward(d, k, p);
  for (const int64_t rows : {1, 3, 64, 65}) {
    const auto some = forward(d, {"", rows, k.k, k.outs}, p);
    for (size_t l = 0; l < all.size(); ++l)
      expect_same_bits(some[l], Floats(all[l].begin(), all[l].begin() + rows * k.outs[l]),
                       fmt::format("{} rows, layer {}", rows, l));
  }
}

TARGET_TEST(LinearGroup, RejectsBadArguments) {
  const auto x = d.input(Floats(12));
  auto y = d.output(12);
  const LinearGroupArgs::Layer good{3, x, nullptr, y, 3}, bad[] = {{3, x, nullptr, nullptr, 3},
                                                                   {3, x, nullptr, y, 2},
                                                                   {3, nullptr, nullptr, y, 3},
                                                                   {-1, x, nullptr, y, 3}};
  EXPECT_NO_THROW(d.table.linear_group({4, 3, x, 1, &good}));
  EXPECT_NO_THROW(d.table.linear_group({0, 3, nullptr, 0, nullptr}));
  for (const auto& layer : bad) EXPECT_THROW(d.table.linear_group({4, 3, x, 1, &layer}), Error);
  EXPECT_THROW(d.table.linear_group({4, 3, nullptr, 1, &good}), Error);
  EXPECT_THROW(d.table.linear_group({4, 3, x, 1, nullptr}), Error);
  EXPECT_THROW(d.table.linear_group({-1, 3, x, 1, &good}), Error);
  const LinearGroupBackwardArgs::Layer dgood{3, x, x, y, nullptr};
  const LinearGroupBackwardArgs::Layer no_dy{3, x, nullptr, y, nullptr},
      no_weight{3, nullptr, x, nullptr, nullptr};
  EXPECT_NO_THROW(d.table.linear_group_backward({4, 3, x, 1, &dgood, nullptr}));
  EXPECT_THROW(d.table.linear_group_backward({4, 3, nullptr, 1, &dgood, nullptr}), Error);
  EXPECT_THROW(d.table.linear_group_backward({4, 3, x, 1, &no_dy, nullptr}), Error);
  EXPECT_THROW(d.table.linear_group_backward({4, 3, x, 1, &no_weight, y}), Error);
}

}  // namespace
}  // namespace diffscm::kernels
