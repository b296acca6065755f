// Attention against the double reference, and its gradient against central differences.
#include "tests/kernels/support.h"
#include "tests/op_cases.h"
#include "tests/reference.h"

namespace diffscm::kernels {
namespace {

using namespace test;

struct AttentionRun {
  Floats qkv, dout, out, lse, dqkv;
  AttentionArgs args;

  explicit AttentionRun(const AttentionCase& k)
      : qkv(random_floats(k.n * k.tokens * 3 * k.channels, 1, std::sqrt(k.scale))),
        dout(random_floats(k.n * k.queries * k.channels, 2)),
        out(poisoned(k.n * k.queries * k.channels)),
        lse(poisoned(k.n * k.heads * k.queries)),
        dqkv(poisoned(k.n * k.tokens * 3 * k.channels)) {
    args = {k.n,      k.tokens,   k.queries,  k.channels, k.heads,
            k.layout, qkv.data(), out.data(), lse.data()};
  }
  void forward(const OperatorTable& table) { table.attention(args); }
  void backward(const OperatorTable& table) {
    table.attention_backward({args, dout.data(), dqkv.data()});
  }
};

reference::Attention in_double(const AttentionCase& k, const Floats& qkv) {
  return {k.n, k.tokens, k.queries, k.channels, k.heads, k.layout, to_double(qkv)};
}

TEST(Attention, MatchesReference) {
  for (const OperatorTable* table : tables()) {
    for (const AttentionCase& k : attention_cases()) {
      AttentionRun r(k);
      r.forward(*table);
      const reference::Attention s = in_double(k, r.qkv);
      const reference::AttentionResult expected = reference::attention(s);
      expect_close(r.out, expected.out, k.tolerance, std::string(k.name) + " out");
      expect_close(r.lse, expected.lse, k.tolerance, std::string(k.name) + " lse");
      r.backward(*table);
      expect_close(r.dqkv, reference::attention_backward(s, to_double(r.dout)), 2 * k.tolerance,
                   std::string(k.name) + " dqkv");
    }
  }
}

TEST(Attention, ReferenceGradientIsTheDerivative) {
  for (const AttentionCase& k : attention_cases()) {
    if (k.tokens * k.channels > 300) continue;
    const AttentionRun r(k);
    reference::Attention s = in_double(k, r.qkv);
    const Doubles dout = to_double(r.dout);
    check_gradient(
        [&](const Doubles& qkv) {
          reference::Attention changed = s;
          changed.qkv = qkv;
          return dot(reference::attention(changed).out, dout);
        },
        s.qkv, reference::attention_backward(s, dout), k.name, 60);
  }
}

TEST(Attention, TokensThatDoNotAskHaveNoQueryGradient) {
  for (const OperatorTable* table : tables()) {
    const AttentionCase k{"", 2, 6, 2, 8, 2, QkvLayout::chunked};
    AttentionRun r(k);
    r.forward(*table);
    r.backward(*table);
    const reference::Attention s = in_double(k, r.qkv);
    for (int64_t t = 2; t < 6; ++t) EXPECT_EQ(r.dqkv[s.at(1, t, 0, 1, 3)], 0.0f);
    EXPECT_NE(r.dqkv[s.at(1, 1, 0, 1, 3)], 0.0f);
    EXPECT_NE(r.dqkv[s.at(1, 5, 1, 1, 3)], 0.0f);
  }
}

TEST(Attention, LayoutsDiffer) {
  for (const OperatorTable* table : tables()) {
    AttentionCase k{"", 1, 5, 5, 8, 2, QkvLayout::per_head};
    AttentionRun a(k);
    k.layout = QkvLayout::chunked;
    AttentionRun b(k);
    a.forward(*table);
    b.forward(*table);
    EXPECT_NE(a.out, b.out);
  }
}

TEST(Attention, BitsDoNotDependOnThreadsOrBatch) {
  for (const OperatorTable* table : tables()) {
    for (const AttentionCase& k : attention_cases()) {
      expect_thread_independent(
          [&]() -> std::vector<Floats> {
            AttentionRun r(k);
            r.forward(*table);
            r.backward(*table);
            return {r.out, r.lse, r.dqkv};
          },
          k.name);
      AttentionRun all(k);
      all.forward(*table);
      AttentionCase single = k;
      single.n = 1;
      AttentionRun one(single);
      one.qkv = row(all.qkv, k.n, k.n - 1);
      one.args.qkv = one.qkv.data();
      one.forward(*table);
      expect_same_bits(one.out, row(all.out, k.n, k.n - 1), k.name);
    }
  }
}

TEST(Attention, RejectsBadArguments) {
  for (const OperatorTable* table : tables()) {
    AttentionRun r(AttentionCase{"", 1, 4, 2, 8, 2, QkvLayout::per_head});
    const auto with = [&](auto change) {
      AttentionArgs args = r.args;
      change(args);
      table->attention(args);
    };
    EXPECT_NO_THROW(with([](AttentionArgs& a) { a.n = 0; }));
    EXPECT_THROW(with([](AttentionArgs& a) { a.heads = 3; }), Error);
    EXPECT_THROW(with([](AttentionArgs& a) { a.queries = 5; }), Error);
    EXPECT_THROW(with([](AttentionArgs& a) { a.queries = 0; }), Error);
    EXPECT_THROW(with([](AttentionArgs& a) { a.lse = nullptr; }), Error);
    EXPECT_THROW(table->attention_backward({r.args, nullptr, r.dqkv.data()}), Error);
  }
}

}  // namespace
}  // namespace diffscm::kernels
