// diffscm scm, as a user runs it.
#include "tests/apps/commands.h"

namespace diffscm {
namespace {

// x -> y -> on, y non-linear in x.
constexpr const char* kTruth = R"toml(
name = "small"
[nodes.x]
mechanism = "equation"
value = "u"
noise = {u = "normal(0, 1)"}
[nodes.y]
parents = ["x"]
mechanism = "equation"
value = "x^2 + u / 2"
noise = {u = "normal(0, 1)"}
[nodes.on]
kind = "binary"
states = ["no", "yes"]
parents = ["y"]
mechanism = "equation"
value = "u < sigmoid(2 * (y - 1))"
noise = {u = "uniform(0, 1)"}
)toml";

// The truth, 400 rows of it, and a model fitted to them.
class Small {
 public:
  static const Small& get() {
    static const Small small;
    return small;
  }
  std::string truth = world() / "small.toml", rows = world() / "small-rows",
              data = rows + "/samples.csv", model = world() / "small-model";

 private:
  Small() {
    testing::put(truth, kTruth);
    const Result sampled = diffscm(
        {"scm", "sample", truth, "--count", "400", "--seed", "1", "--out", rows, "--noise"});
    EXPECT_EQ(sampled.code, 0) << sampled.err;
    const Result fitted = diffscm(fit(model));
    EXPECT_EQ(fitted.code, 0) << fitted.err;
  }

 public:
  Arguments fit(const std::string& out) const {
    return {"scm",
            "fit",
            truth,
            "--data",
            data,
            "--mechanism",
            "diffusion",
            "--set",
            "steps=150",
            "--set",
            "hidden=[16,16]",
            "--out",
            out};
  }
};
const Small& small() {
  return Small::get();
}

json run_of(const std::string& out) {
  return json::parse(testing::get(fs::path(out) / "run.json"));
}

TEST(Scm, SamplesFollowDo) {
  const std::string out = world() / "scm-do";
  const Result r = diffscm({"scm", "sample", small().truth, "--do", "x=2, y=natural+10", "--count",
                            "50", "--out", out, "--format", "npz"});
  ASSERT_EQ(r.code, 0) << r.err;
  const auto arrays = io::read_npz(fs::path(out) / "samples.npz");
  const auto x = arrays.at("x").to_doubles(), y = arrays.at("y").to_doubles();
  for (size_t i = 0; i < 50; ++i) {
    EXPECT_EQ(x[i], 2);
    EXPECT_GT(y[i], 10 + 4 - 3);
  }
  EXPECT_TRUE(fs::exists(fs::path(small().rows) / "noise.npz"));
  // Rows are not joined by samples of images.
  expect_failure(diffscm({"sample", "--model", world().unet(), "--count", "1", "--steps", "2",
                          "--out", small().rows}),
                 1, "holds what scm sample wrote (samples.csv)");
}

TEST(Scm, FitsEveryNodeAndRefusesToOverwrite) {
  for (const char* node : {"x", "y", "on"})
    EXPECT_TRUE(
        fs::exists(fs::path(small().model) / "mechanisms" / (std::string(node) + ".safetensors")));
  const json run = run_of(small().model);
  EXPECT_EQ(run["summary"]["fitted"].size(), 3u);
  EXPECT_EQ(run["graph"]["nodes"][1]["mechanism"], "diffusion");
  expect_failure(diffscm(small().fit(small().model)), 1, "give --resume");
  const Result again = diffscm(small().fit(small().model) + Arguments{"--resume"});
  EXPECT_EQ(again.code, 0) << again.err;
  expect_failure(diffscm(small().fit(small().model) + Arguments{"--resume", "--seed", "5"}), 1,
                 "begun with another seed");
}

TEST(Scm, CounterfactualsOfATable) {
  const std::string out = world() / "scm-counterfactual";
  const Arguments query = {"scm",        "counterfactual", small().model,
                           "--observed", small().data,     "--index",
                           "3:9",        "--out",          out};
  const Result r = diffscm(query + Arguments{"--do", "x=0"});
  ASSERT_EQ(r.code, 0) << r.err;
  const auto lines = io::read_jsonl(fs::path(out) / "results.jsonl");
  ASSERT_EQ(lines.size(), 6u);
  for (size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i]["index"], 3 + i);
    const json& nodes = lines[i]["nodes"];
    EXPECT_EQ(nodes["x"]["counterfactual"], 0);
    EXPECT_EQ(nodes["x"]["natural"], nodes["x"]["factual"]);
    EXPECT_NE(nodes["y"]["counterfactual"], nodes["y"]["factual"]);
    EXPECT_TRUE(nodes["y"]["noise"].is_number());
    EXPECT_EQ(nodes["on"]["noise"].size(), 2u);  // Gumbels
    EXPECT_TRUE(nodes["on"]["factual"].is_string());
  }
  // do() of what is there changes nothing.
  const Result same = diffscm(query + Arguments{"--do", "x=natural"});
  ASSERT_EQ(same.code, 0) << same.err;
  EXPECT_EQ(run_of(out)["summary"]["changed_values"], 0);
  // The table of another question is gone.
  const Result archive = diffscm(query + Arguments{"--do", "x=natural", "--format", "npz"});
  ASSERT_EQ(archive.code, 0) << archive.err;
  EXPECT_FALSE(fs::exists(fs::path(out) / "counterfactuals.csv"));
  // Fewer rows than are asked without --index are all.
  const fs::path few = world() / "few.csv";
  testing::put(few, "x,y,on\n1,2,no\n0,1,yes\n");
  const Result all = diffscm(
      {"scm", "counterfactual", small().model, "--observed", few, "--do", "x=1", "--out", fresh()});
  EXPECT_EQ(all.code, 0) << all.err;
  // The rows themselves are not written over.
  const std::string rows_in = fresh();
  fs::create_directories(rows_in);
  for (const char* format : {"csv", "npz"}) {
    const fs::path table = fs::path(rows_in) / "counterfactuals.csv";
    testing::put(table, "x,y,on\n1,2,no\n");
    expect_failure(diffscm({"scm", "counterfactual", small().model, "--observed", table, "--do",
                            "x=1", "--format", format, "--out", rows_in}),
                   2, "that is the table of factual rows");
    EXPECT_EQ(testing::get(table), "x,y,on\n1,2,no\n");
  }
  // Only known when it is computed; then nothing has been written.
  const std::string none = world() / "scm-no-counterfactual";
  expect_failure(diffscm({"scm", "counterfactual", small().model, "--observed", small().data,
                          "--do", "x=log(natural - 1000)", "--out", none}),
                 1, "do(x=log(natural - 1000))");
  EXPECT_FALSE(fs::exists(none));
}

TEST(Scm, IsJudgedAgainstTheTruth) {
  const std::string out = world() / "scm-evaluate";
  const Result r = diffscm({"scm", "evaluate", small().model, "--truth", small().truth, "--values",
                            "3", "--observational", "200", "--counterfactual", "20", "--out", out});
  ASSERT_EQ(r.code, 0) << r.err;
  const json summary = json::parse(testing::get(fs::path(out) / "summary.json"));
  EXPECT_GT(summary["observational_mmd"]["floor"].get<double>(), 0);
  EXPECT_EQ(summary["interventions"].size(), 2u);
  EXPECT_TRUE(summary["counterfactual_mse"].is_number());
  EXPECT_NE(testing::get(fs::path(out) / "summary.csv").find("do,\"x\",counterfactual_mse,"),
            std::string::npos);
  EXPECT_NE(testing::get(fs::path(out) / "report.html").find("do(x)"), std::string::npos);
}

TEST(Scm, AFitSaysWhichStatesNoRowHas) {
  const fs::path graph = world() / "moods.toml", data = world() / "moods.csv";
  testing::put(graph, "[nodes.mood]\nstates = [\"calm\", \"wild\", \"odd\"]\n");
  testing::put(data, "mood\ncalm\nwild\n");
  const Result r = diffscm({"scm", "fit", graph, "--data", data, "--out", world() / "moods"});
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.err.find("no row has mood=odd: nothing is learnt of it\n"), std::string::npos)
      << r.err;
}

TEST(Scm, BadInputIsOneLine) {
  const std::string out = world() / "scm-bad";
  const fs::path holes = world() / "holes.csv", short_table = world() / "short.csv";
  testing::put(holes, "x,y,on\n1,2,no\n3,,yes\n0,1,yes\n");
  testing::put(short_table, "x,on\n1,no\n");
  const Arguments fit = {"scm", "fit", small().truth, "--out", out, "--data"};
  expect_failure(diffscm(fit + Arguments{holes}), 1, "1 of 3 rows lack a value");
  expect_failure(diffscm(fit + Arguments{short_table}), 1, "y");
  const fs::path header = world() / "header.csv", hidden = world() / "hidden.toml";
  testing::put(header, "x,y,on\n");
  expect_failure(diffscm(fit + Arguments{header}), 1, "has no row");
  testing::put(hidden, "[nodes.u]\nlatent = true\n[nodes.y]\nparents = [\"u\"]\n");
  const fs::path folder = fresh(), own = folder / "graph.json";
  fs::create_directories(folder);
  fs::copy_file(fs::path(small().model) / "graph.json", own);
  const std::string before = testing::get(own);
  expect_failure(diffscm({"scm", "fit", own, "--data", small().data, "--out", folder}), 2,
                 "that is the graph to fit");
  EXPECT_EQ(testing::get(own), before);
  expect_failure(diffscm({"scm", "fit", hidden, "--out", out, "--data", holes, "--drop-missing"}),
                 1, "latent");
  expect_failure(diffscm(fit + Arguments{holes, "--set", "steps=3"}), 2, "--mechanism");
  expect_failure(diffscm(fit + Arguments{holes, "--set", "z.steps=3"}), 2, "no node \"z\"");
  expect_failure(diffscm(fit + Arguments{holes, "--set", "y.bins=1"}), 1, "y");
  expect_failure(diffscm({"scm", "fit", "flu", "--out", out, "--data", holes, "--mechanism",
                          "diffusion", "--set", "steps=3"}),
                 2, "the graph has none");
  expect_failure(
      diffscm(fit + Arguments{holes, "--mechanism", "spline", "--set", "bins=1", "--drop-missing"}),
      1, "a spline of 1 bins");
  EXPECT_FALSE(fs::exists(out));
  const Arguments sample = {"scm", "sample", small().truth, "--out", out, "--do"};
  expect_failure(diffscm(sample + Arguments{"on=maybe"}), 2, "do(on=maybe)");
  expect_failure(diffscm(sample + Arguments{"z=1"}), 2, "z");
  expect_failure(diffscm({"scm", "evaluate", small().model, "--out", out}), 2, "--truth");
  const fs::path named = world() / "named.toml";
  testing::put(named,
               "[nodes.do]\nkind = \"binary\"\nmechanism = \"table\"\nrows = [[0.5, 0.5]]\n");
  expect_failure(diffscm({"scm", "counterfactual", named, "--observed", holes, "--do", "do=1",
                          "--do", "do=0", "--out", out}),
                 2, "give one --do at a time");
  const Arguments judge = {"scm",         "evaluate", small().model, "--truth",
                           small().truth, "--out",    out,           "--do"};
  expect_failure(diffscm(judge + Arguments{"z"}), 2, "there is no node \"z\"");
  expect_failure(diffscm(judge + Arguments{"x,on"}), 2, "do(on): nothing depends on it");
  expect_failure(diffscm(judge + Arguments{"x=3"}), 2, "give the node alone");
  EXPECT_FALSE(fs::exists(out));
}

}  // namespace
}  // namespace diffscm
