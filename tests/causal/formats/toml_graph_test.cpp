#include <cmath>

#include "causal/formats/graph_file.h"
#include "causal/model_folder.h"
#include "tests/causal/scm_testing.h"

namespace diffscm::causal {
namespace {

constexpr const char* kFlu = R"(
name = "flu"
description = "three nodes, in any order"

[nodes.flu]
parents = ["age", "vaccinated"]
kind = "binary"
mechanism = "table"
rows = [["27", "0", 0.8, 0.2], ["27", "1", 0.9, 0.1], ["78", "0", 0.5, 0.5], ["78", "1", 0.7, 0.3]]

[nodes.age]
states = ["27", "78"]
column = "AGE"
mechanism = "table"
rows = [[0.75, 0.25]]

[nodes]
weather = { latent = true, range = [-1, inf] }
day = { states = 7 }

[nodes.vaccinated]
kind = "binary"
parents = ["age"]
mechanism = "table"
counterfactual = "inverse-cdf"
rows = [["27", 0.5, 0.5], ["78", 0.2, 0.8]]
)";

void expect_same(const Graph& a, const Graph& b) {
  ASSERT_EQ(a.size(), b.size());
  EXPECT_EQ(a.name(), b.name());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].attribute, b[i].attribute);
    EXPECT_EQ(a[i].kind, b[i].kind);
    EXPECT_EQ(a[i].parents, b[i].parents);
    EXPECT_EQ(a[i].column, b[i].column);
    EXPECT_EQ(a[i].mechanism.name, b[i].mechanism.name);
    EXPECT_EQ(a[i].mechanism.parameters, b[i].mechanism.parameters);
  }
}

TEST(TomlGraph, says_everything_about_the_nodes) {
  const Graph g = parse_toml_graph(kFlu, "flu.toml");
  EXPECT_EQ(names(g, std::vector<size_t>{0, 1, 2, 3, 4}),
            (std::vector<std::string>{"age", "weather", "day", "vaccinated", "flu"}));
  EXPECT_EQ(g.name(), "flu");
  EXPECT_EQ(g[0].column, "AGE");
  EXPECT_EQ(g[0].kind, NodeKind::binary);
  EXPECT_EQ(g[0].line, 11);
  EXPECT_TRUE(g[1].is_latent());
  EXPECT_EQ(g[1].attribute.low, -1);
  EXPECT_TRUE(std::isinf(g[1].attribute.high));
  EXPECT_EQ(g[2].attribute.states.back(), "6");
  EXPECT_EQ(g[4].attribute.states, (std::vector<std::string>{"0", "1"}));
  EXPECT_EQ(g[4].mechanism.parameters["rows"].size(), 4u);
  expect_same(parse_toml_graph(to_toml(g), "again"), g);
  expect_same(parse_json_graph(nlohmann::json::parse(to_json(g).dump()), "again"), g);
  const auto refused = [](const char* text, std::string_view part) {
    expect_error([&] { parse_json_graph(nlohmann::json::parse(text), "g.json"); }, part);
  };
  refused("[]", R"(g.json: it has no entry "nodes")");
  refused(R"({"nodes": {"a": {}}})", "g.json: its nodes are no list");
  refused(R"({"nodes": [{"name": "a"}]})", R"(node "a" has no entry "kind")");
  refused(R"({"nodes": [{"name": "a", "kind": "continuous", "range": [0, 1]}]})",
          R"(node "a" has the unknown entry "range": give name, kind, states, low, high)");
}

TEST(TomlGraph, errors_name_the_line) {
  const auto expect = [](const std::string& text, std::string_view part) {
    expect_error([&] { parse_toml_graph(text, "g.toml"); }, part);
  };
  expect("", "g.toml has no [nodes.NAME]");
  expect("a = 1", R"(g.toml: line 1: the unknown key "a")");
  expect("x = [", "g.toml: line 1: ");
  expect("[nodes]\na = 1", R"(line 2: node "a" must be a table)");
  expect("[nodes.a]\nkind = 3", R"(line 2: kind of node "a" must be a text)");
  expect("[nodes.a]\nkind = \"float\"", R"(line 2: node "a": kind "float" is unknown)");
  expect("[nodes.a]\n\nparents = \"b\"", "line 3: parents of node \"a\" must be a list");
  expect("[nodes.a]\nparents = [\"b\"]", R"(g.toml: line 1: node "a" has the unknown parent "b")");
  expect("[nodes.a]\nstates = [1]", "must be a list of texts");
  expect("[nodes.a]\nstates = []", "line 2: node \"a\" has no state");
  expect("[nodes.a]\nlatent = true\ncolumn = \"b\"", "is latent, and so without a column");
  expect("[nodes.a]\nstates = 0", "cannot have 0 states");
  expect("[nodes.a]\nstates = 100000000", "cannot have 100000000 states");
  expect("[nodes.a]\nrange = [2, 1]", "line 2: range of node \"a\" must be [low, high]");
  expect("[nodes.a]\nstates=2\nrange = [1, 2]", "node \"a\" is binary: a range is for continuous");
  expect("[nodes.a]\nlatent = 1", "must be true or false");
  expect("[nodes.a]\nparent = [\"b\"]", R"(line 2: node "a" has the unknown key "parent")");
  expect("[nodes.a]\nmechanism=\"table\"\nd = 2020-01-01", "line 3: dates and times");
  expect("[nodes.a]\nparents=[\"b\"]\n[nodes.b]\nparents=[\"a\"]", R"(cycle: "a" -> "b" -> "a")");
}

TEST(TomlGraph, a_model_is_loaded_or_the_error_names_file_line_and_node) {
  const testing::TemporaryFolder folder;
  const auto load = [&](const char* text) {
    testing::put(folder / "g.toml", text);
    return load_model(folder / "g.toml");
  };
  EXPECT_EQ(load("[nodes.a]\nstates=2\nmechanism=\"table\"\nrows=[[0.5,0.5]]").model.graph().size(),
            1u);
  expect_error(
      [&] { load("[nodes.a]\nstates=2\nmechanism=\"table\"\nrows=[[0.5,0.6]]"); },
      R"(g.toml": line 1: node "a", mechanism table: row 1 of rows: the probabilities sum)");
  expect_error([&] { load("[nodes.a]\nstates=2\nmechanism=\"table\""); },
               "node \"a\" is not fitted");
  expect_error([&] { load("[nodes.a]\nstates=2\nmechanism=\"tabel\""); },
               R"(node "a" has the unknown mechanism "tabel")");
  expect_error([&] { load("[nodes.a]\nstates=2"); }, R"(node "a" has no mechanism)");
  expect_error([&] { load_model(folder.path()); }, "has no graph.json");
  testing::put(folder / "g.txt2", "");
  expect_error([&] { load_model(folder / "g.txt2"); }, "is not a graph");
}

TEST(ModelFolder, holds_the_graph_and_each_mechanism) {
  const testing::TemporaryFolder folder;
  const StructuralCausalModel scm(
      Graph({binary("a/b", {}, nlohmann::json::array({{0.25, 0.75}}))}));
  write_graph_of_model(folder.path(), scm.graph());
  expect_error([&] { load_model(folder.path()); }, R"(not complete: node "a/b" is not fitted)");
  const auto path = mechanism_path(folder.path(), "a/b");
  EXPECT_EQ(path.filename(), "a%2Fb.safetensors");
  std::filesystem::create_directory(path.parent_path());
  write_mechanism(path, role_of(scm.graph(), 0), scm.mechanism(0));
  EXPECT_EQ(load_model(folder.path()).model.mechanism(0).state().values,
            scm.mechanism(0).state().values);
}

}  // namespace
}  // namespace diffscm::causal
