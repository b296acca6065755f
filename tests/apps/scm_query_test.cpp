// diffscm scm show and scm query.
#include <regex>
#include <sstream>

#include "apps/report/graph_drawing.h"
#include "apps/report/layers.h"
#include "causal/formats/graph_file.h"
#include "data/table.h"
#include "tests/apps/commands.h"

namespace diffscm {
namespace {

Result query(const Arguments& arguments) {
  return diffscm(Arguments{"scm", "query", "flu"} + arguments);
}

TEST(ScmQuery, answers_on_three_rungs) {
  const std::tuple<Arguments, const char*, double> questions[] = {
      {{"--of", "flu=1", "--given", "vaccinated=0"}, "seeing", 0.099 / 0.58},
      {{"--of", "flu=1", "--do", "vaccinated=0"}, "doing", 0.235},
      {{"--of", "flu=1", "--observed", "age=27,vaccinated=1,flu=0", "--do", "vaccinated=0"},
       "imagining",
       0.0625}};
  for (const auto& [arguments, rung, value] : questions) {
    const Result r = query(arguments + Arguments{"--json"});
    expect_success(r);
    const json j = json::parse(r.out);
    EXPECT_EQ(j["rung"], rung);
    EXPECT_TRUE(j["exact"]);
    EXPECT_NEAR(j["answers"][0]["value"].get<double>(), value, 1e-12) << r.out;
  }
  const Result words = query({"--of", "flu=1", "--do", "vaccinated=1"});
  expect_success(words);
  EXPECT_EQ(words.out,
            "P(flu=1 | do(vaccinated=1)) = 0.121\n"
            "doing; exact: variable elimination over 3 variables\n");
  const Result sampled =
      query({"--of", "flu", "--do", "vaccinated=1", "--samples", "20000", "--json", "--quiet"});
  expect_success(sampled);
  const json j = json::parse(sampled.out);
  EXPECT_FALSE(j["exact"]);
  EXPECT_LT(j["answers"][1]["low"], 0.121);
  EXPECT_GT(j["answers"][1]["high"], 0.121);
}

// As many digits as say something: of seconds since 1970 more than six.
TEST(ScmQuery, shows_the_digits_that_matter) {
  const fs::path graph = world() / "time.toml";
  testing::put(graph,
               "[nodes.t]\nmechanism = \"equation\"\nvalue = \"1.7e9 + u\"\n"
               "noise = {u = \"uniform(0, 2)\"}\n[nodes.s]\nparents = [\"t\"]\n"
               "mechanism = \"equation\"\nvalue = \"t + u\"\n"
               "noise = {u = \"uniform(0, 1)\"}\n");
  const Arguments ask = {"scm", "query", graph, "--quiet"};
  const Result sampled = diffscm(ask + Arguments{"--of", "t", "--samples", "10000"});
  expect_success(sampled);
  EXPECT_TRUE(sampled.out.starts_with("E(t) = 1700000001.0") ||
              sampled.out.starts_with("E(t) = 1700000000.9"))
      << sampled.out;
  const Result exact =
      diffscm(ask + Arguments{"--of", "s", "--observed", "t=1700000001,s=1700000001.25", "--do",
                              "t=1700000000.5"});
  expect_success(exact);
  EXPECT_NE(exact.out.find(" = 1700000000.75\n"), std::string::npos) << exact.out;
}

TEST(ScmQuery, asks_about_the_rows_of_a_table) {
  const fs::path data = world() / "people.csv", out = world() / "answers.csv";
  testing::put(data, "age,vaccinated,flu\n27,1,0\n78,0,1\n52,,0\n");
  const Arguments rows = {"--of", "flu=1", "--do", "vaccinated=0", "--observed", data};
  expect_failure(query(rows + Arguments{"--index", ":"}), 1, "1 of 3 rows lack a value");
  expect_success(query(rows + Arguments{"--index", ":", "--drop-missing", "--out", out}));
  const std::vector<data::Attribute> columns = {{.name = "index"}, {.name = "flu=1"}};
  const data::Table answers = data::read_table(out, columns);
  ASSERT_EQ(answers.rows(), 2);
  EXPECT_EQ(answers.find("index")->values.numbers, (std::vector<double>{0, 1}));
  EXPECT_NEAR(answers.find("flu=1")->values.numbers[0], 0.0625, 1e-12);
  EXPECT_EQ(answers.find("flu=1")->values.numbers[1], 1);
  const std::string before = testing::get(data);
  expect_failure(query(rows + Arguments{"--out", data}), 2, "the table that is asked about");
  EXPECT_EQ(testing::get(data), before);
  testing::put(data, "age,vaccinated\n27,1\n");
  expect_failure(query(rows + Arguments{"--index", ":"}), 1, R"(has no column "flu")");
}

TEST(ScmQuery, bad_input_is_one_line) {
  expect_failure(query({"--of", "flue=1"}), 2, R"(there is no node "flue": give "age")");
  expect_failure(query({"--of", "flu=2"}), 2, R"(flu "2" is unknown: give 0 to 1)");
  expect_failure(query({"--of", "flu", "--do", "age=28"}), 2, "\"28\" is unknown");
  expect_failure(query({"--of", "flu", "--do", "age=27", "--do", "vaccinated=1"}), 2,
                 "--do is given more than once");
  expect_failure(query({"--of", "flu", "--given", "age=27", "--observed", "age=52"}), 1,
                 "its probability is 0");
  expect_failure(query({"--of", "flu", "--out", "x.csv"}), 2, "--out is for the rows of a table");
  expect_failure(diffscm({"scm", "query", "fluu", "--of", "flu"}), 1,
                 "no graph at \"fluu\": give a .toml");
  const fs::path graph = world() / "bad.toml";
  testing::put(graph, "[nodes.a]\nstates = 2\nmechanism = \"table\"\nrows = [[0.5, 0.6]]\n");
  expect_failure(
      diffscm({"scm", "query", graph, "--of", "a"}), 1,
      "line 1: node \"a\", mechanism table: row 1 of rows: the probabilities sum to 1.1");
  testing::put(graph, "[nodes.a]\nstates = 2\n");
  expect_failure(diffscm({"scm", "query", graph, "--of", "a"}), 1, "node \"a\" has no mechanism");
}

TEST(ScmQuery, do_stays_in_the_range_of_its_node) {
  const fs::path graph = world() / "dose.toml";
  testing::put(graph,
               "[nodes.dose]\nrange = [0, 10]\nmechanism = \"equation\"\nvalue = \"4 + u\"\n"
               "noise = {u = \"uniform(0, 1)\"}\n"
               "[nodes.effect]\nparents = [\"dose\"]\nmechanism = \"equation\"\n"
               "value = \"2 * dose\"\n");
  const auto ask = [&](const char* intervention) {
    return diffscm({"scm", "query", graph, "--of", "effect", "--do", intervention, "--samples",
                    "100", "--json", "--quiet"});
  };
  for (const auto& [set, effect] : {std::pair{"dose=0", 0.0}, {"dose=10", 20}}) {
    const Result r = ask(set);
    expect_success(r);
    EXPECT_NEAR(json::parse(r.out)["answers"][0]["value"].get<double>(), effect, 1e-6);
  }
  expect_failure(ask("dose=10.5"), 2, "dose is 10.5: give a number from 0 to 10");
  expect_failure(ask("dose=-1"), 2, "dose is -1: give a number from 0 to 10");
  // Not known before it is computed: from 12 to 15.
  expect_failure(ask("dose=natural*3"), 1, "give a number from 0 to 10");
}

TEST(ScmShow, prints_the_factorisation_and_writes_formats) {
  const Result r = diffscm({"scm", "show", "flu", "--do", "vaccinated=0"});
  expect_success(r);
  EXPECT_NE(r.out.find("p(age, vaccinated, flu) = p(age) p(vaccinated | age) "
                       "p(flu | age, vaccinated)\n"),
            std::string::npos)
      << r.out;
  EXPECT_NE(r.out.find("p(age, flu | do(vaccinated=0)) = p(age) p(flu | age, vaccinated=0)\n"),
            std::string::npos)
      << r.out;
  for (const char* name : {"g.toml", "g.json", "g.bif", "g.dot", "g.svg"}) {
    const fs::path out = world() / name;
    expect_success(diffscm({"scm", "show", "sprinkler", "--out", out, "--quiet"}));
    if (out.extension() == ".svg") continue;
    expect_failure(diffscm({"scm", "show", out, "--out", out}), 2, "the graph to show");
    const Result again = diffscm({"scm", "show", out});
    expect_success(again);
    EXPECT_NE(again.out.find("p(wet | sprinkler, rain)"), std::string::npos);
  }
  const Result asked = diffscm({"scm", "query", world() / "g.bif", "--of", "wet=1", "--json"});
  expect_success(asked);
  EXPECT_NEAR(json::parse(asked.out)["answers"][0]["value"].get<double>(), 0.6471, 1e-12);
  expect_failure(diffscm({"scm", "show", "flu", "--do", "flu=1", "--out", world() / "g.bif"}), 2,
                 "give .svg, or no --do");
  expect_failure(diffscm({"scm", "show", "flu", "--out", world() / "g.pdf"}), 2,
                 "give .svg for a picture");
}

TEST(Layers, causes_stand_above_and_boxes_do_not_touch) {
  apps::LayeredGraph graph{.widths = std::vector<double>(40, 80), .edges = {}};
  uint32_t random = 7;
  for (size_t to = 1; to < 40; ++to)
    for (size_t from = 0; from < to; ++from) {
      random = random * 1664525 + 1013904223;
      if (random >> 28 == 0) graph.edges.emplace_back(from, to);
    }
  const apps::Layout layout = apps::lay_out(graph, 20);
  for (size_t e = 0; e < graph.edges.size(); ++e) {
    const auto [from, to] = graph.edges[e];
    ASSERT_LT(layout.layer[from], layout.layer[to]);
    EXPECT_EQ(layout.bends[e].size(), layout.layer[to] - layout.layer[from] - 1);
  }
  for (size_t a = 0; a < 40; ++a) {
    EXPECT_GE(layout.centre[a], 40 - 1e-6);
    EXPECT_LE(layout.centre[a], layout.width - 40 + 1e-6);
    for (size_t b = 0; b < a; ++b)
      if (layout.layer[a] == layout.layer[b]) {
        EXPECT_GE(std::abs(layout.centre[a] - layout.centre[b]), 100 - 1e-6);
      }
  }
  EXPECT_EQ(apps::lay_out(graph, 20).centre, layout.centre);
}

TEST(Layers, a_tree_has_no_crossing) {
  // 0 -> 1, 2; 1 -> 3, 4; 2 -> 5, 6, given so that the order of names crosses.
  apps::LayeredGraph tree{.widths = std::vector<double>(7, 50),
                          .edges = {{0, 1}, {0, 2}, {2, 3}, {1, 4}, {2, 5}, {1, 6}}};
  const apps::Layout l = apps::lay_out(tree, 10);
  const bool left = l.centre[1] < l.centre[2];
  for (const size_t of1 : {4, 6})
    for (const size_t of2 : {3, 5}) EXPECT_EQ(l.centre[of1] < l.centre[of2], left);
}

// Points of all curves of a drawing, and its boxes.
struct Drawing {
  struct Box {
    double x, y, width, height;
    bool holds(double px, double py) const {
      return px > x && px < x + width && py > y && py < y + height;
    }
  };
  std::vector<Box> boxes;
  std::vector<std::vector<std::pair<double, double>>> edges;

  explicit Drawing(const std::string& svg) {
    const std::regex box(
        R"re(<rect x="([^"]+)" y="([^"]+)" width="([^"]+)" height="([^"]+)" rx)re");
    const std::regex path(R"re(<path d="M([^"z]+)" stroke)re");
    for (std::sregex_iterator i(svg.begin(), svg.end(), box), end; i != end; ++i)
      boxes.push_back(
          {std::stod((*i)[1]), std::stod((*i)[2]), std::stod((*i)[3]), std::stod((*i)[4])});
    for (std::sregex_iterator i(svg.begin(), svg.end(), path), end; i != end; ++i)
      edges.push_back(points((*i)[1]));
  }

 private:
  static std::vector<std::pair<double, double>> points(const std::string& path) {
    std::istringstream text(path);
    std::vector<std::pair<double, double>> all(1);
    text >> all[0].first >> all[0].second;
    for (char kind; text >> kind;) {
      const auto [x0, y0] = all.back();
      double x[3] = {}, y[3] = {};
      for (int k = kind == 'C' ? 0 : 2; k < 3; ++k) text >> x[k] >> y[k];
      if (kind == 'L') {
        x[0] = x0 + (x[2] - x0) / 3, x[1] = x0 + (x[2] - x0) * 2 / 3;
        y[0] = y0 + (y[2] - y0) / 3, y[1] = y0 + (y[2] - y0) * 2 / 3;
      }
      for (int i = 1; i <= 20; ++i) {
        const double t = i / 20.0, r = 1 - t;
        const auto at = [&](double a, const double* b) {
          return r * r * r * a + 3 * r * r * t * b[0] + 3 * r * t * t * b[1] + t * t * t * b[2];
        };
        all.emplace_back(at(x0, x), at(y0, y));
      }
    }
    return all;
  }
};

TEST(GraphDrawing, long_edges_pass_between_the_boxes) {
  for (const char* name : {"alarm.bif", "sachs.bif", "dcm-ladder-nlin.toml"}) {
    const causal::Graph graph =
        causal::read_graph(fs::path(DIFFSCM_WEIGHTS) / "../graphs" / name).graph;
    size_t edges = 0;
    for (size_t i = 0; i < graph.size(); ++i) edges += graph.parents(i).size();
    const Drawing drawing(apps::draw_graph(graph));
    ASSERT_EQ(drawing.boxes.size(), graph.size()) << name;
    ASSERT_EQ(drawing.edges.size(), edges) << name;
    for (const auto& edge : drawing.edges)
      for (const auto& [x, y] : edge)
        for (const Drawing::Box& box : drawing.boxes)
          ASSERT_FALSE(box.holds(x, y)) << name << ": " << x << ", " << y;
  }
}

TEST(ScmShow, networks_are_found_from_the_new_file) {
  const fs::path from = world() / "from" / "g.toml", to = world() / "to" / "g.toml";
  fs::create_directories(from.parent_path());
  fs::create_directories(to.parent_path());
  testing::put(from,
               "[nodes.a]\n[nodes.image]\nkind = \"image\"\nparents = [\"a\"]\n"
               "mechanism = \"image-diffusion\"\nform = \"anti-causal\"\n"
               "model = \"net.safetensors\"\npredictors = {a = \"/nets/a.safetensors\"}\n");
  expect_success(diffscm({"scm", "show", from, "--out", to, "--quiet"}));
  const causal::Graph graph = causal::read_graph(to).graph;
  const json& parameters = graph[graph.find("image")].mechanism.parameters;
  EXPECT_EQ(parameters["model"], "../from/net.safetensors");
  EXPECT_EQ(parameters["predictors"]["a"], "/nets/a.safetensors");
}

TEST(ScmShow, refuses_mechanisms_that_cannot_be) {
  const fs::path file = world() / "sum.toml";
  testing::put(file,
               "[nodes.a]\nstates = [\"x\", \"y\"]\nmechanism = \"table\"\nrows = [[0.5, 0.6]]\n");
  expect_failure(diffscm({"scm", "show", file}), 1, "sum.toml\": line 1: node");
}

TEST(GraphDrawing, shows_what_do_sets_and_cuts) {
  using namespace causal;
  Node cause{.attribute = {.name = "a<b"}, .column = ""};
  Node effect{.attribute = {.name = "e"}, .parents = {"a<b"}, .column = "e"};
  const Graph graph({cause, effect});
  const std::string plain = apps::draw_graph(graph);
  EXPECT_NE(plain.find("a&lt;b"), std::string::npos);
  EXPECT_NE(plain.find("latent number"), std::string::npos);
  EXPECT_EQ(plain.find("url(#cut)"), std::string::npos);
  const std::string acted = apps::draw_graph(graph, {{1, set_to(graph[1], 3)}});
  EXPECT_NE(acted.find("do: 3"), std::string::npos);
  EXPECT_NE(acted.find("url(#cut)"), std::string::npos);
}

}  // namespace
}  // namespace diffscm
