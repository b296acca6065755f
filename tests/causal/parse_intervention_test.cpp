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

TEST(ParseIntervention, RefusesWhatItCannotUse) {
  for (const auto& [text, why] :
       std::vector<std::pair<std::string, std::string>>{{"flu", "give NODE=VALUE"},
                                                        {"flu=", "give a value"},
                                                        {"flu=maybe", "do(flu=maybe)"},
                                                        {"flu=natural", "do(flu=natural)"},
                                                        {"income=-1", "do(income=-1)"},
                                                        {"income=flu", "do(income=flu)"},
                                                        {"income=1,income=2", "do(income) twice"},
                                                        {"cold=1", "cold"},
                                                        {"income=1/0", "do(income=1/0)"},
                                                        {"income=1,", "give NODE=VALUE"}})
    expect_error([text = text] { parse_intervention(text, graph()); }, why);
}

}  // namespace
}  // namespace diffscm::causal
