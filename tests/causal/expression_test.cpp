#include "causal/expression.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "tests/engine/io_testing.h"

namespace diffscm::causal {
namespace {

using testing::expect_error;

double value(const char* text, double x = 0, double y = 0) {
  return Expression(text, {"x", "y"})(std::vector<double>{x, y});
}

TEST(Expression, is_arithmetic) {
  EXPECT_EQ(value("1 + 2 * 3 ^ 2"), 19);
  EXPECT_EQ(value("-x^2", 3), -9);
  EXPECT_EQ(value("2^-1"), 0.5);
  EXPECT_EQ(value("1e-3 + .5 + 2.E2"), 200.501);
  EXPECT_EQ(value("x > 1 && y <= 2 ? 10 : -10", 2, 2), 10);
  EXPECT_EQ(value("x == 1 || y != 0", 0, 0), 0);
  EXPECT_EQ(value("sigmoid(x)", 0), 0.5);
  EXPECT_EQ(value("sign(x) + sign(y)", -3, 0), -1);
  EXPECT_EQ(value("min(x, 4, y) + max(x, y)", 7, 5), 11);
  EXPECT_DOUBLE_EQ(value("log(exp(x))", 2), 2);
  EXPECT_DOUBLE_EQ(value("atan2(y, x)", -1, 0), std::numbers::pi);
  EXPECT_DOUBLE_EQ(value("cos(pi)"), -1);
  EXPECT_EQ(value("round(x) + floor(x) + ceil(x)", 1.5), 5);
  EXPECT_TRUE(std::isnan(value("sqrt(x)", -1)));
  EXPECT_TRUE(std::isinf(value("1 / x", 0)));
  EXPECT_NEAR(value("(20/(1+exp(-x^2+y))+0.5)/2.41", 1, 1), 10.5 / 2.41, 1e-12);
}

TEST(Expression, a_name_may_be_anything) {
  const Expression e("`a-b` * sin + `<7.5` + e.1 + über",
                     {"a-b", "sin", "<7.5", "e.1", "über", "z"});
  EXPECT_EQ(e(std::vector<double>{2, 3, 10, 100, 1000, 0}), 1116);
  EXPECT_TRUE(e.mentions(0));
  EXPECT_FALSE(e.mentions(5));
  EXPECT_EQ(Expression("sin(sin)", {"sin"})(std::vector<double>{0.5}), std::sin(0.5));
  EXPECT_EQ(names_in("2*age + exp(u_1) - `a b` + age*pi"),
            (std::vector<std::string>{"age", "u_1", "a b"}));
}

TEST(Expression, is_nothing_but_arithmetic) {
  const auto parse = [](std::string text) { return [text] { Expression(text, {"x", "income"}); }; };
  expect_error(parse(""), "an expression is empty");
  expect_error(parse("x = 3"), R"("=" cannot stand in an expression; equality is ==)");
  expect_error(parse("x, 3"), "a comma stands outside a function");
  expect_error(parse("\"text\""), "cannot stand in an expression");
  expect_error(parse("x; x"), R"(";" cannot)");
  expect_error(parse("incom * 2"), R"("incom" is unknown: give "x" or "income")");
  expect_error(parse("system(1)"), R"("system" is unknown)");
  expect_error(parse("2x"), R"("2x" is not a number)");
  expect_error(parse("0x10"), R"("0x" is not a number)");
  expect_error(parse("x +"), "something is missing at its end");
  expect_error(parse("(x"), "something is missing at its end");
  expect_error(parse("x + * x"), R"(not understood from "* x" on)");
  expect_error(parse("x x"), R"(not understood from "x" on)");
  expect_error(parse("exp(1, 2)"), "not understood");
  expect_error(parse("min()"), "not understood");
  expect_error(parse("exp"), R"("exp" is unknown)");
  expect_error(parse("`x"), "a backquote does not close");
  expect_error(parse("1.2.3"), "not a number");
  expect_error(parse(std::string(300, '(') + "x" + std::string(300, ')')), "parentheses are open");
  expect_error(parse(std::string(20000, '1')), "the limit is 10000");
}

}  // namespace
}  // namespace diffscm::causal
