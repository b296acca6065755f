// Attention against the double reference, and its gradient against central differences.
#include "tests/kernels/support.h"
#include "tests/op_cases.h"
#include "tests/reference.h"

namespace diffscm::kernels {
namespace {

using namespace test;

// With bf16 storage the probabilities (and, going back, the score gradients) are rounded to bf16
// before they enter the second matrix product, as the tensor core wants them: each term of a sum
// moves by up to 2^-8 of itself. The scores do not, so lse stays as exact as with f32.
template <class T>
constexpr double kOperands = kRounding<T>;

template <class T>
struct AttentionRun {
  const Device& d;
  Array<const T> qkv, dout;
  Array<T> out, dqkv;
  Array<float> lse;
  BasicAttentionArgs<T> args;

  AttentionRun(const Device& device, const AttentionCase& k)
      : d(device),
        qkv(d.input<T>(random_floats(k.n * k.tokens * 3 * k.channels, 1, std::sqrt(k.scale)))),
        dout(d.input<T>(random_floats(k.n * k.queries * k.channels, 2))),
        out(d.output<T>(k.n * k.queries * k.channels)),
        dqkv(d.output<T>(k.n * k.tokens * 3 * k.channels)),
        lse(d.output(k.n * k.heads * k.queries)) {
    args = {k.n, k.tokens, k.queries, k.channels, k.heads, k.layout, qkv, out, lse};
  }
  void forward() { d.table.of(args)(args); }
  void backward() { d.table.of(BasicAttentionBackwardArgs<T>{})({args, dout, dqkv}); }
};

reference::Attention in_double(const AttentionCase& k, const Doubles& qkv) {
  return {k.n, k.tokens, k.queries, k.channels, k.heads, k.layout, qkv};
}

template <class T>
void check(const Device& d, const AttentionCase& k) {
  AttentionRun<T> r(d, k);
  r.forward();
  const reference::Attention s = in_double(k, r.qkv.doubles());
  const reference::AttentionResult expected = reference::attention(s);
  const std::string name = k.name;
  expect_close(r.out, expected.out, k.tolerance + kOperands<T>, name + " out");
  expect_close(r.lse, expected.lse, k.tolerance, name + " lse");
  r.backward();
  expect_close(r.dqkv, reference::attention_backward(s, r.dout.doubles()),
               2 * (k.tolerance + kOperands<T>), name + " dqkv");
}

TYPED_TARGET_TEST(Attention, MatchesReference) {
  for (const AttentionCase& k : d.affordable(attention_cases())) {
    check<T>(d, k);
  }
}

TYPED_TARGET_TEST(Attention, AnyAlignment) {
  d.offset = 1;
  for (const AttentionCase& k : attention_cases())
    if (k.work() < 5e4) check<T>(d, k);
}

TEST(Attention, ReferenceGradientIsTheDerivative) {
  for (const AttentionCase& k : attention_cases()) {
    if (k.tokens * k.channels > 300) continue;
    const reference::Attention s = in_double(
        k, to_double(random_floats(k.n * k.tokens * 3 * k.channels, 1, std::sqrt(k.scale))));
    const Doubles dout = to_double(random_floats(k.n * k.queries * k.channels, 2));
    check_gradient(
        [&](const Doubles& qkv) {
          reference::Attention changed = s;
          changed.qkv = qkv;
          return dot(reference::attention(changed).out, dout);
        },
        s.qkv, reference::attention_backward(s, dout), k.name, 60);
  }
}

TYPED_TARGET_TEST(Attention, TokensThatDoNotAskHaveNoQueryGradient) {
  const AttentionCase k{"", 2, 6, 2, 8, 2, QkvLayout::chunked};
  AttentionRun<T> r(d, k);
  r.forward();
  r.backward();
  const reference::Attention s = in_double(k, r.qkv.doubles());
  const Floats dqkv = r.dqkv.floats();
  for (int64_t t = 2; t < 6; ++t) EXPECT_EQ(dqkv[s.at(1, t, 0, 1, 3)], 0.0f);
  EXPECT_NE(dqkv[s.at(1, 1, 0, 1, 3)], 0.0f);
  EXPECT_NE(dqkv[s.at(1, 5, 1, 1, 3)], 0.0f);
}

TYPED_TARGET_TEST(Attention, LayoutsDiffer) {
  AttentionCase k{"", 1, 5, 5, 8, 2, QkvLayout::per_head};
  AttentionRun<T> a(d, k);
  k.layout = QkvLayout::chunked;
  AttentionRun<T> b(d, k);
  a.forward();
  b.forward();
  EXPECT_NE(a.out.floats(), b.out.floats());
}

TYPED_TARGET_TEST(Attention, BitsDoNotDependOnRunOrBatch) {
  for (const AttentionCase& k : d.affordable(attention_cases(), 2)) {
    expect_reproducible(
        d,
        [&]() -> std::vector<Floats> {
          AttentionRun<T> r(d, k);
          r.forward();
          r.backward();
          return {r.out.floats(), r.lse.floats(), r.dqkv.floats()};
        },
        k.name);
    AttentionRun<T> all(d, k);
    all.forward();
    AttentionCase single = k;
    single.n = 1;
    AttentionRun<T> one(d, single);
    one.args.qkv = all.qkv + (k.n - 1) * k.tokens * 3 * k.channels;
    one.forward();
    expect_same_bits(one.out.floats(), row(all.out.floats(), k.n, k.n - 1), k.name);
  }
}

TYPED_TARGET_TEST(Attention, RejectsBadArguments) {
  AttentionRun<T> r(d, AttentionCase{"", 1, 4, 2, 8, 2, QkvLayout::per_head});
  using Args = BasicAttentionArgs<T>;
  const auto with = [&](auto change) {
    Args args = r.args;
    change(args);
    d.table.of(args)(args);
  };
  EXPECT_NO_THROW(with([](Args& a) { a.n = 0; }));
  EXPECT_THROW(with([](Args& a) { a.heads = 3; }), Error);
  EXPECT_THROW(with([](Args& a) { a.queries = 5; }), Error);
  EXPECT_THROW(with([](Args& a) { a.queries = 0; }), Error);
  EXPECT_THROW(with([](Args& a) { a.lse = nullptr; }), Error);
  const auto& backward = d.table.of(BasicAttentionBackwardArgs<T>{});
  EXPECT_THROW(backward({r.args, nullptr, r.dqkv}), Error);
}

}  // namespace
}  // namespace diffscm::kernels
