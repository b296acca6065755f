#include "causal/graph.h"

#include "tests/causal/scm_testing.h"

namespace diffscm::causal {
namespace {

using Names = std::vector<std::string>;

TEST(Graph, nodes_come_in_topological_order_whatever_the_order_of_lines) {
  const Graph graph({number("c", {"b", "a"}), number("b", {"a"}), number("d"), number("a")});
  EXPECT_EQ(names(graph, std::vector<size_t>{0, 1, 2, 3}), (Names{"d", "a", "b", "c"}));
  EXPECT_EQ(names(graph, graph.parents(graph.find("c"))), (Names{"b", "a"}));
  EXPECT_EQ(names(graph, graph.children(graph.find("a"))), (Names{"b", "c"}));
  const std::vector<size_t> a = {graph.find("a")}, c = {graph.find("c")};
  EXPECT_EQ(names(graph, graph.descendants(a)), (Names{"b", "c"}));
  EXPECT_EQ(names(graph, graph.ancestors(c)), (Names{"a", "b"}));
  EXPECT_EQ(graph.rank(graph.find("a")), 0u);
  EXPECT_EQ(graph.rank(graph.find("d")), 3u);
  EXPECT_FALSE(graph.is_discrete());
}

TEST(Graph, refuses_what_is_no_dag_and_names_it) {
  const auto make = [](std::vector<Node> nodes) { return [nodes] { Graph{nodes}; }; };
  expect_error(make({}), "needs a node");
  expect_error(make({number("")}), "has no name");
  expect_error(make({number("a"), number("a")}), R"(node "a" is declared twice)");
  expect_error(make({number("a", {"aq"})}), R"(node "a" has the unknown parent "aq": give "a")");
  expect_error(make({number("b"), number("a", {"b", "b"})}), R"(the parent "b" twice)");
  expect_error(make({number("a", {"a"})}), R"(cycle: "a" -> "a")");
  expect_error(make({number("x"), number("a", {"x", "c"}), number("b", {"a"}), number("c", {"b"}),
                     number("y", {"c"})}),
               R"(cycle: "a" -> "b" -> "c" -> "a")");
  const std::string longest(200, 'a');
  EXPECT_EQ(Graph({number(longest)}).size(), 1u);
  expect_error(make({number(longest + "a")}), "takes 201 characters as a file's, the limit is 200");
  expect_error(make({number(longest.substr(2) + "\xc3\xa9")}), "takes 204 characters");
  Node late = number("a", {"z"});
  late.line = 7;
  expect_error(make({late}), "line 7: node");
}

TEST(Graph, states_and_ranges_must_fit_the_kind) {
  Node node = binary("b", {}, {});
  node.attribute.states.push_back("maybe");
  expect_error([&] { Graph({node}); }, R"(node "b" is binary, but has 3 states)");
  node.attribute.states = {"no", "no"};
  expect_error([&] { Graph({node}); }, R"(has the state "no" twice)");
  node.attribute.states.clear();
  expect_error([&] { Graph({node}); }, "it needs states");
  node.kind = NodeKind::continuous;
  node.attribute.states = {"no", "yes"};
  expect_error([&] { Graph({node}); }, "it cannot have states");
  node.attribute.states.clear();
  node.attribute.low = 2;
  node.attribute.high = 1;
  expect_error([&] { Graph({node}); }, "low must be below high");
  Node other = number("o");
  other.column = "b";
  expect_error([&] { Graph({number("b"), other}); }, R"(has the column "b" of another node)");
  Node latent = number("b");
  latent.column.clear();
  expect_error([&] { Graph({latent, other}); }, R"(has the column "b" of another node)");
  expect_error([] { parse_node_kind("float"); }, R"(kind "float" is unknown: give continuous,)");
}

}  // namespace
}  // namespace diffscm::causal
