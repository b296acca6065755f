#include "causal/dataset_nodes.h"

#include "tests/causal/scm_testing.h"

namespace diffscm::causal {
namespace {

TEST(DatasetNodes, MatchStatesByNameOrAllByOrder) {
  data::Dataset set;
  set.name = "faces";
  set.height = set.width = set.channels = 1;
  set.pixels = {0, 0};
  set.add({.name = "mood", .states = {"calm", "wild"}}, {0, 1});
  const auto values = [&](std::vector<std::string> states) {
    Node image{.attribute = {.name = "image"}, .kind = NodeKind::image, .column = "image"};
    const Graph graph({category("mood", std::move(states), {}, nlohmann::json::array()), image});
    return DatasetNodes(graph, set).values(std::vector<int64_t>{0, 1})[graph.find("mood")].numbers;
  };
  EXPECT_EQ(values({"wild", "calm"}), (std::vector<double>{1, 0}));
  EXPECT_EQ(values({"-1", "1"}), (std::vector<double>{0, 1}));
  // By order, what is calm would be wild.
  expect_error([&] { values({"wild", "still"}); }, R"(node "mood" has no state "calm")");
  expect_error([&] { values({"a", "b", "c"}); }, "3 states");
}

}  // namespace
}  // namespace diffscm::causal
