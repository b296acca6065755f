#include "causal/formats/dot.h"

#include "tests/causal/scm_testing.h"

namespace diffscm::causal {
namespace {

using Names = std::vector<std::string>;

TEST(Dot, reads_chains_groups_and_attributes) {
  const GraphFile file = parse_dot(R"(# made elsewhere
strict digraph "my graph" {
  rankdir = LR; graph [bgcolor="white"] node [shape=box];
  a -> b -> "c d" [color=red, label=<<b>x;</b>>]; // two edges
  subgraph cluster_0 { e; f } -> b
  { a e } -> { g }
  u [observed="no"];
  h [kind=categorical, states="low,mid,high"]; i [states="no,yes"]
  a -> b  /* again */
})",
                                   "g.dot");
  const Graph& g = file.graph;
  EXPECT_EQ(g.name(), "my graph");
  EXPECT_TRUE(file.notes.empty());
  EXPECT_EQ(g.size(), 9u);
  EXPECT_EQ(g[g.find("b")].parents, (Names{"a", "e", "f"}));
  EXPECT_EQ(g[g.find("c d")].parents, (Names{"b"}));
  EXPECT_EQ(g[g.find("g")].parents, (Names{"a", "e"}));
  EXPECT_TRUE(g[g.find("u")].is_latent());
  EXPECT_EQ(g[g.find("h")].attribute.states, (Names{"low", "mid", "high"}));
  EXPECT_EQ(g[g.find("i")].kind, NodeKind::binary);
  EXPECT_EQ(to_dot(parse_dot(to_dot(g), "again").graph), to_dot(g));
}

TEST(Dot, states_with_commas_return) {
  const Names states{"Paris, France", "the \"old\" town", "a"};
  const Graph g({category("city, or town", states, {}, nlohmann::json::array())});
  EXPECT_EQ(parse_dot(to_dot(g), "g.dot").graph[0].attribute.states, states);
  expect_error([] { parse_dot(R"(digraph { a [states="\"b\"c,d"] })", "g.dot"); },
               "line 1: states");
}

TEST(Dot, a_bare_colon_is_a_port) {
  const GraphFile file = parse_dot("digraph { a:n -> \"b:c\" }", "g.dot");
  EXPECT_EQ(file.graph[1].name(), "b:c");
  ASSERT_EQ(file.notes.size(), 1u);
  EXPECT_EQ(file.notes[0], "line 1: a:n is node a, port n; a name with a colon needs quotes");
}

TEST(Dot, reads_dagitty) {
  const GraphFile file = parse_dot(R"(// a graph in a comment
dag {
  bb="-0.5,-0.5,0.5,0.5"
  A [pos="0,1"]
  E [exposure,pos="-1.2,0.3"]
  D [outcome]
  U [latent]
  A -> E -> D
  D <- U
  A <-> D
  "my node" -> D [pos="1,1"]
})",
                                   "g.txt");
  const Graph& g = file.graph;
  EXPECT_EQ(g.size(), 6u);
  EXPECT_EQ(g[g.find("D")].parents, (Names{"E", "U", "A<->D", "my node"}));
  EXPECT_EQ(g[g.find("A")].parents, (Names{"A<->D"}));
  EXPECT_TRUE(g[g.find("U")].is_latent());
  EXPECT_TRUE(g[g.find("A<->D")].is_latent());
  EXPECT_FALSE(g[g.find("E")].is_latent());
  ASSERT_EQ(file.notes.size(), 1u);
  EXPECT_EQ(parse_dot("dag{x->y;z}", "g").graph.size(), 3u);
}

TEST(Dot, arrows_point_either_way) {
  const Graph g = parse_dot("digraph { a <-> b; c <- a; a -> d [label=<x>] }", "g.dot").graph;
  EXPECT_EQ(g.size(), 5u);
  EXPECT_EQ(g[g.find("b")].parents, (Names{"a<->b"}));
  EXPECT_EQ(g[g.find("c")].parents, (Names{"a"}));
}

TEST(Dot, says_what_it_cannot_hold) {
  const testing::TemporaryFolder folder;
  Node a = number("a");
  a.column = "A";
  EXPECT_EQ(write_graph(folder / "g.dot", Graph({a})),
            (Names{"DOT does not say which column a node has"}));
  for (const char* name : {"g.toml", "G.TOML"}) {
    EXPECT_EQ(write_graph(folder / name, Graph({a})), Names{});
    EXPECT_EQ(read_graph(folder / name).graph[0].name(), a.name());
  }
}

TEST(Dot, errors_name_the_line) {
  const auto expect = [](const std::string& text, std::string_view part) {
    expect_error([&] { parse_dot(text, "g.dot"); }, part);
  };
  expect("", "g.dot ends in the middle");
  expect("digraph {}", "g.dot: a graph needs a node");
  expect("graph { a -- b }", R"(line 1: "graph" is not a directed acyclic graph)");
  expect("pdag { a -> b }", "\"pdag\" is not a directed");
  expect("digraph {\na -- b }", R"(g.dot: line 2: the edge "--" has no direction)");
  expect("dag { a @-> b }", "has no direction");
  expect("digraph { a -> b", "ends in the middle");
  expect("digraph { a -> }", R"("}" where a node should be)");
  expect("digraph { a -> b } }", R"("}" after the end)");
  expect("digraph { a [label=\"x }", "the quote in line 1 does not end");
  expect("digraph { a [label=<x ] }", "the < in line 1 does not close");
  expect("digraph { a -> b\nb -> a }", R"(cycle: "a" -> "b" -> "a")");
  expect("digraph " + std::string(300, '{'), "groups are open");
  expect("digraph { a [kind=binary] }", "it needs states");
  expect("digraph { a -> b # so\n}", "line 1: a comment with # is a whole line");
  expect("digraph \xff { a }", R"(the graph's name, "\xff", is not UTF-8)");
}

}  // namespace
}  // namespace diffscm::causal
