// The embedding of the time, its two layers and all projections against the same in double, step by
// step.
#include "tests/kernels/support.h"
#include "tests/op_cases.h"
#include "tests/reference.h"

namespace diffscm::kernels {
namespace {

using namespace test;

struct Problem {
  int64_t channels, hidden;
  bool last_frequency;
  Array<const float> t, weight1, bias1, weight2, bias2, more;
  std::vector<int64_t> outs;
  std::vector<Array<const float>> weights, biases;  // every third layer has no bias
  bool has_more;

  Problem(const Device& d, const TimeProjectionsCase& k)
      : channels(k.channels),
        hidden(k.hidden),
        last_frequency(k.last_frequency),
        t(d.input(times(k.n))),
        weight1(d.input(random_floats(k.hidden * k.channels, 1))),
        bias1(d.input(random_floats(k.hidden, 2))),
        weight2(d.input(random_floats(k.hidden * k.hidden, 3))),
        bias2(d.input(random_floats(k.hidden, 4))),
        more(d.input(random_floats(k.n * k.hidden, 5))),
        outs(k.outs),
        has_more(k.more) {
    for (uint32_t seed = 6; const int64_t out : outs) {
      weights.push_back(d.input(random_floats(out * hidden, seed)));
      biases.push_back(d.input(random_floats(out, seed + 1)));
      seed += 2;
    }
  }
  static Floats times(int64_t n) {
    Floats t;
    for (int64_t i = 0; i < n; ++i) t.push_back(static_cast<float>(i * 367 % 1000));
    return t;
  }

  // Rows [begin, begin + n) of every layer, one layer after the other; rows lie `further` floats
  // further apart than they are long, and those in between stay as they are.
  std::vector<Floats> run(const Device& d, int64_t begin, int64_t n, int64_t further = 0) const {
    std::vector<Array<float>> y;
    std::vector<LinearGroupArgs::Layer> layers;
    for (size_t l = 0; l < outs.size(); ++l) {
      const int64_t ldy = outs[l] + further;
      y.push_back(further ? d.inout(Floats(static_cast<size_t>(n * ldy), 7)) : d.output(n * ldy));
      layers.push_back({outs[l], weights[l], l % 3 == 2 ? nullptr : biases[l].data(), y[l], ldy});
    }
    d.table.time_projections({n, channels, hidden, last_frequency, t + begin, weight1, bias1,
                              weight2, bias2, has_more ? more + begin * hidden : nullptr,
                              std::ssize(layers), layers.data()});
    std::vector<Floats> result;
    for (const auto& array : y) result.push_back(array.floats());
    return result;
  }
};

void check(const Device& d, const TimeProjectionsCase& k) {
  const Problem p(d, k);
  const reference::Matrix embedding{
      reference::timestep_embedding(k.channels, p.t.doubles(), k.last_frequency), k.channels};
  const reference::Matrix more{p.more.doubles(), k.hidden};
  const Doubles first = reference::silu(reference::matmul(k.n, k.hidden, k.channels, embedding,
                                                          {p.weight1.doubles(), k.channels, true},
                                                          p.bias1.doubles(), nullptr));
  const reference::Matrix e{
      reference::silu(reference::matmul(k.n, k.hidden, k.hidden, {first, k.hidden},
                                        {p.weight2.doubles(), k.hidden, true}, p.bias2.doubles(),
                                        k.more ? &more : nullptr)),
      k.hidden};
  const auto y = p.run(d, 0, k.n);
  for (size_t l = 0; l < k.outs.size(); ++l)
    expect_close(
        y[l],
        reference::matmul(k.n, k.outs[l], k.hidden, e, {p.weights[l].doubles(), k.hidden, true},
                          l % 3 == 2 ? Doubles() : p.biases[l].doubles(), nullptr),
        1e-5, fmt::format("{}, layer {}", k.name, l));
}

TARGET_TEST(TimeProjections, MatchesReference) {
  for (const TimeProjectionsCase& k : d.affordable(time_projections_cases())) check(d, k);
}

TARGET_TEST(TimeProjections, RowHasTheSameBitsInAnyBatch) {
  const TimeProjectionsCase k{"", 21, 8, 24, {40, 3, 8}, true};
  const Problem p(d, k);
  const auto all = p.run(d, 0, k.n);
  for (const int64_t n : {1, 2, 8, 9})
    for (const int64_t begin : {int64_t{0}, int64_t{5}, k.n - n}) {
      const auto some = p.run(d, begin, n);
      for (size_t l = 0; l < k.outs.size(); ++l) {
        const auto row = all[l].begin() + begin * k.outs[l];
        expect_same_bits(some[l], Floats(row, row + n * k.outs[l]),
                         fmt::format("rows {} to {}, layer {}", begin, begin + n, l));
      }
    }
}

TARGET_TEST(TimeProjections, LeavesWhatLiesBetweenRowsAlone) {
  const TimeProjectionsCase k{"", 9, 4, 8, {6, 5}};
  const Problem p(d, k);
  const auto close = p.run(d, 0, k.n), apart = p.run(d, 0, k.n, 3);
  for (size_t l = 0; l < k.outs.size(); ++l)
    for (int64_t row = 0; row < k.n; ++row)
      for (int64_t i = 0; i < k.outs[l] + 3; ++i)
        EXPECT_EQ(apart[l][row * (k.outs[l] + 3) + i],
                  i < k.outs[l] ? close[l][row * k.outs[l] + i] : 7.0f);
}

TARGET_TEST(TimeProjections, RefusesWhatItCannotDo) {
  const auto x = d.input(Floats(64, 1));
  const auto y = d.output(64);
  const auto call = [&](int64_t channels, int64_t hidden, bool last, const float* bias2) {
    const LinearGroupArgs::Layer layer{1, x, x, y, 1};
    d.table.time_projections({1, channels, hidden, last, x, x, x, x, bias2, nullptr, 1, &layer});
  };
  EXPECT_NO_THROW(call(4, 4, true, x));
  EXPECT_THROW(call(3, 4, false, x), Error);
  EXPECT_THROW(call(2, 4, true, x), Error);
  EXPECT_THROW(call(4, 0, false, x), Error);
  EXPECT_THROW(call(4, 4, false, nullptr), Error);
}

}  // namespace
}  // namespace diffscm::kernels
