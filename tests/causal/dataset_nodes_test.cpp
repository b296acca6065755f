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
  const auto values_in = [](const data::Dataset& set, std::vector<std::string> states) {
    Node image{.attribute = {.name = "image"}, .kind = NodeKind::image, .column = "image"};
    const Graph graph({category("mood", std::move(states), {}, nlohmann::json::array()), image});
    return DatasetNodes(graph, set).values(std::vector<int64_t>{0, 1})[graph.find("mood")].numbers;
  };
  const auto values = [&](std::vector<std::string> states) { return values_in(set, states); };
  EXPECT_EQ(values({"wild", "calm"}), (std::vector<double>{1, 0}));
  EXPECT_EQ(values({"-1", "1"}), (std::vector<double>{0, 1}));
  // By order, what is calm would be wild.
  expect_error([&] { values({"wild", "still"}); }, R"(node "mood" has no state "calm")");
  expect_error([&] { values({"a", "b", "c"}); }, "3 states");
  // A part of the data need not have all states.
  EXPECT_EQ(values({"wild", "sad", "calm"}), (std::vector<double>{2, 0}));
  data::Dataset numbered = set;
  numbered.attributes[0].states = {"0", "1"};
  EXPECT_EQ(values_in(numbered, {"calm", "wild", "sad"}), (std::vector<double>{0, 1}));
  expect_error([&] { values_in(numbered, {"calm"}); }, "1 states");
}

// One grey pixel, as bright as x says, from 0 to 1.
class Pixel : public data::World {
 public:
  data::Assignment attributes(int64_t, const data::Assignment& set) const override { return set; }
  std::vector<float> image(int64_t, const data::Assignment& set) const override {
    require(set.at("x") <= 1, "the world cannot draw it");
    return {static_cast<float>(set.at("x"))};
  }
};

TEST(DatasetNodes, BeyondTheWorldsRangeNobodyKnowsTheImage) {
  data::Dataset set;
  set.name = "pixels";
  set.height = set.width = set.channels = 1;
  set.pixels = {0};
  set.add({.name = "x", .low = 0, .high = 1}, {0.5});
  set.world = std::make_shared<Pixel>();
  Node image{.attribute = {.name = "image"}, .kind = NodeKind::image, .column = "image"};
  const Graph graph({number("x"), image});
  const DatasetNodes nodes(graph, set);
  EXPECT_EQ(nodes.true_image(0, {Values({0.25}), Values()}, 0), std::vector<float>{0.25});
  EXPECT_TRUE(nodes.true_image(0, {Values({2}), Values()}, 0).empty());
}

}  // namespace
}  // namespace diffscm::causal
