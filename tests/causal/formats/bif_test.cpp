#include "causal/formats/bif.h"

#include "causal/mechanisms/table.h"
#include "tests/causal/scm_testing.h"

namespace diffscm::causal {
namespace {

// Names, order and quirks as bnlearn's repository has them: the first parent fastest.
constexpr const char* kChild = R"(
// a comment
network "my net" { property "made by hand"; }
variable a-1 { type discrete [ 2 ] { <7.5, >=7.5 }; property position = (1, 2); }
variable b.2 { type discrete [3] { 0-3_days Asy/Patch 12+ }; }
variable c { type discrete [ 2 ] { "no, never", Transp. }; }
probability ( a-1 ) { table 0.25, 0.75; }
probability ( b.2 | c ) { table .1, .2, .3, .3, .6, .5; } /* state by state
  over c */
probability ( c | a-1 ) {
  (>=7.5) 1e-1, 9.0E-1;
  default 0.5 0.5;
}
)";

std::vector<double> table(const Graph& graph, const char* node) {
  return TableMechanism(role_of(graph, graph.find(node))).probabilities();
}

TEST(Bif, reads_names_rows_tables_and_defaults) {
  const GraphFile file = parse_bif(kChild, "child.bif");
  const Graph& g = file.graph;
  EXPECT_TRUE(file.notes.empty());
  EXPECT_EQ(g.name(), "my net");
  EXPECT_EQ(g[0].attribute.states, (std::vector<std::string>{"<7.5", ">=7.5"}));
  EXPECT_EQ(g[2].attribute.states, (std::vector<std::string>{"0-3_days", "Asy/Patch", "12+"}));
  EXPECT_EQ(g[1].attribute.states[0], "no, never");
  EXPECT_EQ(table(g, "a-1"), (std::vector<double>{0.25, 0.75}));
  EXPECT_EQ(table(g, "b.2"), (std::vector<double>{.1, .3, .6, .2, .3, .5}));
  EXPECT_EQ(table(g, "c"), (std::vector<double>{0.5, 0.5, 0.1, 0.9}));
  EXPECT_EQ(to_bif(parse_bif(to_bif(g), "again").graph), to_bif(g));
}

TEST(Bif, rows_are_found_by_name_not_by_place) {
  const Graph g = parse_bif(R"(network n {} variable x { type discrete [2] { t, f }; }
    variable p { type discrete [2] { t, f }; } variable q { type discrete [2] { t, f }; }
    probability (p) { table 1, 0; } probability (q) { table 0, 1; }
    probability (x | p, q) { (t, t) .1, .9; (f, t) .2, .8; (t, f) .3, .7; (f, f) .4, .6; })",
                            "x.bif")
                      .graph;
  EXPECT_EQ(table(g, "x"), (std::vector<double>{.1, .9, .3, .7, .2, .8, .4, .6}));
}

TEST(Bif, sums_are_made_one_and_large_errors_refused) {
  const auto with = [](const char* row) {
    return fmt::format(
        "variable x {{ type discrete [2] {{ t, f }}; }}\nprobability (x) {{\n"
        "table {}; }}",
        row);
  };
  EXPECT_TRUE(parse_bif(with("0.3, 0.7000003"), "x.bif").notes.empty());
  const GraphFile noted = parse_bif(with("0.3, 0.7005"), "x.bif");
  ASSERT_EQ(noted.notes.size(), 1u);
  EXPECT_EQ(noted.notes[0], "line 3: probabilities that sum to 1 within 0.0005 were made to");
  const auto p = table(noted.graph, "x");
  EXPECT_EQ(p[0] + p[1], 1);
  expect_error([&] { parse_bif(with("0.3, 0.6"), "x.bif"); },
               "x.bif: line 3: the probabilities sum to 0.9, not to 1");
}

TEST(Bif, errors_name_the_line) {
  const auto expect = [](const std::string& text, std::string_view part) {
    expect_error([&] { parse_bif(text, "x.bif"); }, part);
  };
  const std::string x = "variable x { type discrete [ 2 ] { t, f }; }\n";
  expect("", "x.bif: a graph needs a node");
  expect("hello", R"(x.bif: line 1: "hello" where network, variable or probability should be)");
  expect("variable x {", "ends in the middle");
  expect("variable x { type discrete [3] { t, f }; }", "x\" has 2 states, not \"3\"");
  expect("variable x { type continuous; }", R"("continuous" where "discrete" should be)");
  expect("variable x { }", "has no states");
  expect("variable x { type discrete [2] { t ; f }; }", R"(";" where "}" should be)");
  expect("variable x { type discrete [2] { t, t }; }\nprobability (x) { table 1, 0; }",
         R"(state "t" twice)");
  expect(x + x, "line 2: the variable \"x\" is declared twice");
  expect(x, "line 1: variable \"x\" has no probability");
  expect(x + "probability (y) { table 1, 0; }", R"(line 2: there is no variable "y": give "x")");
  expect(x + "probability (x | x) { (t) 1, 0; (f) 1, 0; }", R"(cycle: "x" -> "x")");
  expect(x + "probability (x) { table 1, 0; }\nprobability (x) { table 1, 0; }",
         "line 3: \"x\" has");
  expect(x + "probability (x) { table 1, zero; }", R"("zero" is not a probability)");
  expect(x + "probability (x) { table 1, -0.5; }", R"("-0.5" is not a probability)");
  expect(x + "probability (x) { table 1, nan; }", R"("nan" is not a probability)");
  expect(x + "probability (x) { table 1; }", "a table of 1 probabilities, not 2");
  expect(x + "probability (x) { (t) 1, 0; }", "a row of 1 states for 0 parents");
  expect(x + "probability (x) { }", R"("x" has no row for ())");
  expect(x + "probability (x) { what 1, 0; }", "where table, default or a row");
  const std::string y =
      x + "variable y { type discrete [2] { t, f }; }\nprobability (x) { table 1, 0; }";
  expect(y + "probability (y | x) { (t) 1, 0; }", R"("y" has no row for (f))");
  expect(y + "probability (y | x) { (t) 1, 0; (t) 1, 0; }", "has this row twice");
  expect(y + "probability (y | x) { (u) 1, 0; }", R"(x "u" is unknown: give "t" or "f")");
  expect(y + "/* never", "the comment in line 3 does not end");
  expect(y + "\"never", "the quote in line 3 does not end");
  const testing::TemporaryFolder folder;
  Node node = category("x", {"a", "b", "c"}, {}, nlohmann::json::array({{.5, .25, .25}}));
  EXPECT_TRUE(write_graph(folder / "g.bif", Graph({node})).empty());
  node.mechanism.parameters["counterfactual"] = "inverse-cdf";
  node.column.clear();
  const auto notes = write_graph(folder / "g.bif", Graph({node}));
  ASSERT_EQ(notes.size(), 2u);
  EXPECT_EQ(notes[0], "BIF does not say which column a node has, or that it is latent");
  EXPECT_NE(notes[1].find("read back, they are by Gumbel-max"), std::string::npos);
  expect_error([] { to_bif(Graph({number("x")})); }, "BIF holds discrete nodes with tables");
}

// The numbers are those of the networks in bnlearn's repository and in pgmpy.
TEST(Bif, known_networks_go_through_without_loss) {
  for (const auto& [name, nodes] : {std::pair{"asia", 8}, {"sachs", 11}, {"alarm", 37}}) {
    const GraphFile file =
        read_graph(std::filesystem::path(DIFFSCM_GRAPHS) / (name + std::string(".bif")));
    EXPECT_TRUE(file.notes.empty());
    EXPECT_EQ(file.graph.size(), static_cast<size_t>(nodes));
    const std::string text = to_bif(file.graph);
    const Graph again = parse_bif(text, "again").graph;
    EXPECT_EQ(to_bif(again), text);
    for (size_t i = 0; i < again.size(); ++i) {
      EXPECT_EQ(again[i].attribute, file.graph[i].attribute);
      EXPECT_EQ(again[i].parents, file.graph[i].parents);
      EXPECT_EQ(again[i].mechanism.parameters, file.graph[i].mechanism.parameters);
    }
  }
}

}  // namespace
}  // namespace diffscm::causal
