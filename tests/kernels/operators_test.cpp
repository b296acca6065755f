// The catalogue and the targets' tables.
#include "kernels/operators.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "tests/kernels/target_test.h"

namespace diffscm::kernels {
namespace {

template <class Args>
concept HasOperator = requires(const OperatorTable& t, const Args& args) {
  t.of(args);
};

// Arguments that are nobody's do not compile.
struct Nobody {
  int64_t n;
};
static_assert(HasOperator<Conv2dArgs> && HasOperator<BasicMatmulArgs<bf16, float>>);
static_assert(!HasOperator<Nobody> && !HasOperator<ConvShape>);
static_assert(!HasOperator<BasicMatmulArgs<float, bf16>>);

TEST(Operators, AreFoundByTheirArguments) {
  const OperatorTable table("none");
  table.each([&]<class Args>(const Operator<Args>& entry) {
    EXPECT_EQ(&table.of(Args{}), &entry) << entry.name;
  });
}

TEST(Operators, HaveNamesOfTheirOwn) {
  std::set<std::string> names;
  size_t count = 0;
  OperatorTable("none").each([&](const auto& entry) {
    names.insert(entry.name);
    ++count;
  });
  EXPECT_EQ(names.size(), count);
  EXPECT_TRUE(names.contains("conv2d") && names.contains("conv2d_bf16"));
}

TEST(Operators, ThatAreMissingSayWhichAndWhere) {
  try {
    cpu::operators().cast_to_bf16({});
    FAIL() << "the cpu target has no bf16";
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "operator cast_to_bf16 is not implemented on target cpu");
  }
}

TARGET_TEST(Operators, AreAllThere) {
  d.table.each([&](const auto& entry) {
    const bool bf16 = std::string_view(entry.name).find("bf16") != std::string_view::npos ||
                      std::string_view(entry.name) == "cast_to_f32";
    EXPECT_EQ(static_cast<bool>(entry), !d.is("cpu") || !bf16) << entry.name;
    EXPECT_TRUE(d.is(entry.target)) << entry.name;
  });
}

}  // namespace
}  // namespace diffscm::kernels
