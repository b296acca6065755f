#include "causal/parse_intervention.h"

#include "tests/causal/scm_testing.h"

namespace diffscm::causal {
namespace {

using nlohmann::json;

Graph graph() {
  Node income = number("income"), age = number("age of x");
  income.attribute.low = 0;
  return Graph({binary("flu", {}, json::array({{0.5, 0.5}})), income, age});
}

std::vector<double> applied(const std::string& text, std::vector<double> natural) {
  const Intervention intervention = parse_intervention(text, graph());
  EXPECT_EQ(intervention.size(), 1u);
  return intervention.begin()->second.set(Values(std::move(natural))).numbers;
}

TEST(ParseIntervention, TakesStatesNumbersAndFunctions) {
  EXPECT_EQ(applied("flu=yes", {0, 1}), (std::vector<double>{1, 1}));
  EXPECT_EQ(applied(" income = 2 * 3 ", {0, 1}), (std::vector<double>{6, 6}));
  EXPECT_EQ(applied("income=max(natural - 1, 0)", {0.5, 3}), (std::vector<double>{0, 2}));
  EXPECT_EQ(applied("age of x=natural", {4}), (std::vector<double>{4}));
  const Intervention both = parse_intervention("flu=no, income=natural * 1.1", graph());
  ASSERT_EQ(both.size(), 2u);
  EXPECT_EQ(both.rbegin()->second.text, "natural * 1.1");
  EXPECT_TRUE(parse_intervention("", graph()).empty());
}

TEST(ParseIntervention, TakesWhatEachNaturalStateBecomes) {
  EXPECT_EQ(applied("flu=natural", {0, 1}), (std::vector<double>{0, 1}));
  EXPECT_EQ(applied("flu=(no -> yes, yes -> no)", {0, 1}), (std::vector<double>{1, 0}));

  Node severity = number("severity");
  severity.kind = NodeKind::categorical;
  severity.attribute.states = {"low", "medium", "high"};
  const Graph severities({severity});
  const auto becomes = [&](const std::string& text) {
    return parse_intervention(text, severities).at(0);
  };
  const Values all(std::vector<double>{0, 1, 2});
  EXPECT_EQ(becomes("severity=(high->low)").set(all).numbers, (std::vector<double>{0, 1, 0}));
  EXPECT_EQ(becomes("severity=(low->natural, *->high)").set(all).numbers,
            (std::vector<double>{0, 2, 2}));
  EXPECT_TRUE(becomes("severity=(high->low)").uses_natural);
  // Whatever is natural, the same: no edge is left.
  EXPECT_FALSE(becomes("severity=(*->high)").uses_natural);
  EXPECT_EQ(becomes("severity=(*->high)").text, "high");

  severity.attribute.states = {"natural", "(a->b)"};
  const Graph odd({severity});
  EXPECT_FALSE(parse_intervention("severity=natural", odd).at(0).uses_natural);
  EXPECT_FALSE(parse_intervention("severity=(a->b)", odd).at(0).uses_natural);
}

// As questions have them (causal/query.h).
TEST(ParseIntervention, TakesNamesWithCommasBetweenQuotesOrNot) {
  Node city = number("city, or town"), size = number("size");
  city.kind = size.kind = NodeKind::categorical;
  city.attribute.states = {"Paris, France", "Paris, Texas", "the \"old\" town", "(-inf,5]"};
  size.attribute.states = {"small", "large, mostly", "natural"};
  const Graph graph({city, size, number("income")});
  const auto states = [&](const std::string& text) {
    std::vector<double> set;
    for (const auto& [node, setting] : parse_intervention(text, graph))
      set.push_back(setting.set(Values(std::vector<double>{0})).numbers[0]);
    return set;
  };
  EXPECT_EQ(states(R"("city, or town"="Paris, Texas")"), std::vector<double>{1});
  EXPECT_EQ(states("city, or town=Paris, Texas"), std::vector<double>{1});
  EXPECT_EQ(states(R"(city, or town="the ""old"" town",size="large, mostly")"),
            (std::vector<double>{2, 1}));
  EXPECT_EQ(states("city, or town=Paris, France, size=large, mostly, income=max(1, natural)"),
            (std::vector<double>{0, 1, 1}));
  EXPECT_EQ(states("city, or town=(-inf,5], size=small"), (std::vector<double>{3, 0}));
  EXPECT_EQ(states(R"(city, or town=("Paris, France" -> "Paris, Texas", * -> natural))"),
            std::vector<double>{1});
  EXPECT_EQ(states(R"(income="3")"), std::vector<double>{3});
  // It can be given again.
  EXPECT_EQ(parse_intervention("city, or town=Paris, Texas", graph).at(0).text,
            R"("Paris, Texas")");
  expect_error([&] { parse_intervention(R"(city, or town="Paris")", graph); },
               R"("Paris" is unknown)");
  expect_error([&] { parse_intervention(R"("city"=1)", graph); }, R"("city")");
}

TEST(ParseIntervention, RefusesWhatItCannotUse) {
  for (const auto& [text, why] :
       std::vector<std::pair<std::string, std::string>>{{"flu", "give NODE=VALUE"},
                                                        {"flu=", "give a value"},
                                                        {"flu=maybe", "do(flu=maybe)"},
                                                        {"flu=(no)", "give STATE->STATE"},
                                                        {"flu=(no->maybe)", "maybe"},
                                                        {"flu=(maybe->no)", "maybe"},
                                                        {"flu=(no->yes, no->no)", "twice"},
                                                        {"flu=(*->yes, *->no)", "* twice"},
                                                        {"income=-1", "do(income=-1)"},
                                                        {"income=flu", R"("flu" is not a number)"},
                                                        {"income=natural*x", R"("x" is not a)"},
                                                        {"income=1,income=2", "do(income) twice"},
                                                        {"cold=1", "cold"},
                                                        {"income=1/0", "do(income=1/0)"},
                                                        {"income=1,", "give NODE=VALUE"}})
    expect_error([text = text] { parse_intervention(text, graph()); }, why);
}

}  // namespace
}  // namespace diffscm::causal
