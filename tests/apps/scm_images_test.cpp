// diffscm scm on graphs with an image, as a user runs it.
#include <map>

#include "engine/io/png.h"
#include "tests/apps/commands.h"

namespace diffscm {
namespace {

// class -> image, of the blobs whose place tells their class.
constexpr const char* kGraph = R"toml(
name = "blobs"
[nodes.class]
states = 10
mechanism = "table"
[nodes.image]
kind = "image"
parents = ["class"]
mechanism = "image-diffusion"
unet = {channel_mult = [1, 1]}
steps = 40
batch = 8
lr = 3e-3
levels = 5
)toml";

class Blobs {
 public:
  static const Blobs& get() {
    static const Blobs blobs;
    return blobs;
  }
  std::string graph = world() / "blobs.toml", model = world() / "blobs";

 private:
  Blobs() {
    testing::put(graph, kGraph);
    const Result r = diffscm({"scm", "fit", graph, "--data", world().data(), "--seed", "1", "--set",
                              "image.steps=39", "--out", model});
    EXPECT_EQ(r.code, 0) << r.err;
  }
};

// The graph of the blobs with another number of classes.
std::string graph_of_classes(int classes) {
  std::string graph = kGraph;
  graph.replace(graph.find("states = 10"), 11, fmt::format("states = {}", classes));
  const std::string path = fresh() + ".toml";
  testing::put(path, graph);
  return path;
}

Arguments ask(const std::string& model, const std::string& out) {
  return {"scm", "counterfactual", model, "--observed", world().data(), "--index",
          "0:4", "--out",          out};
}

TEST(ScmImages, AnswerSeveralQuestionsInOneRun) {
  const std::string out = fresh();
  const Result r =
      diffscm(ask(Blobs::get().model, out) +
              Arguments{"--do", "class=3", "--do", "class=2", "--batch", "3", "--report"});
  ASSERT_EQ(r.code, 0) << r.err;
  const auto arrays = io::read_npz(fs::path(out) / "images.npz");
  EXPECT_EQ(arrays.at("factual").shape, (Shape{4, kSide, kSide, 1}));
  EXPECT_EQ(arrays.at("counterfactual").shape, (Shape{2, 4, kSide, kSide, 1}));
  EXPECT_FALSE(arrays.contains("truth"));
  const auto factual = arrays.at("factual").to_floats(),
             answers = arrays.at("counterfactual").to_floats();
  // Rows 2 and 3 are of these classes already.
  const auto row = [](const std::vector<float>& images, size_t i) {
    const auto first = images.begin() + static_cast<std::ptrdiff_t>(i * kSide * kSide);
    return std::vector<float>(first, first + kSide * kSide);
  };
  EXPECT_EQ(row(answers, 3), row(factual, 3));
  EXPECT_EQ(row(answers, 4 + 2), row(factual, 2));
  EXPECT_NE(answers[0], factual[0]);
  EXPECT_TRUE(fs::exists(fs::path(out) / "grid.png"));
  const std::string page = testing::get(fs::path(out) / "report.html");
  for (const char* part : {"#0, up", "<svg"}) EXPECT_NE(page.find(part), std::string::npos) << part;
  for (const char* question : {"do(class=3)", "do(class=2)"})  // a film of each
    EXPECT_NE(page.find(fmt::format("<figcaption>Under {}", question)), std::string::npos)
        << question;
  EXPECT_EQ(page.find("The truth is"), std::string::npos);  // nobody knows it

  const auto lines = io::read_jsonl(fs::path(out) / "results.jsonl");
  ASSERT_EQ(lines.size(), 8u);
  double changed = 0;
  for (const auto& line : lines) {
    EXPECT_FALSE(line["nodes"].contains("image"));
    const bool moved =
        line["nodes"]["class"]["factual"] != line["nodes"]["class"]["counterfactual"];
    EXPECT_EQ(line["l1"].get<double>() > 0, moved) << line;
    changed += moved;
  }
  EXPECT_EQ(changed, 6);
  const std::string table = testing::get(fs::path(out) / "counterfactuals.csv");
  EXPECT_EQ(table.substr(0, table.find('\n')), "do,class");
}

// An image that cannot be answered is found late, after others were: what the folder held stays.
TEST(ScmImages, AFailedRunLeavesNoResults) {
  const std::string model = fresh(), out = fresh();
  const Result fit = diffscm({"scm", "fit", Blobs::get().graph, "--data", world().data(), "--index",
                              "0:2", "--set", "image.steps=2", "--set", "image.batch=2", "--set",
                              "class.pseudocount=0", "--out", model});
  ASSERT_EQ(fit.code, 0) << fit.err;
  const Arguments impossible =
      ask(model, out) + Arguments{"--do", "class=1", "--batch", "2", "--quiet"};  // 2 of 0 to 3
  expect_failure(diffscm(impossible), 1, "what was observed cannot happen");
  EXPECT_TRUE(is_empty(out));

  expect_success(diffscm(ask(Blobs::get().model, out) + Arguments{"--do", "class=3"}));
  const auto files = [&] {
    std::map<std::string, std::string> all;
    for (const auto& entry : fs::directory_iterator(out))
      all[entry.path().filename()] = testing::get(entry.path());
    return all;
  };
  const auto before = files();
  expect_failure(diffscm(impossible), 1, "what was observed cannot happen");
  EXPECT_TRUE(files() == before);
}

TEST(ScmImages, OneRunGoesOnWhereItWasAndAnotherSeedDoesNot) {
  const Arguments fit = {"scm", "fit",   Blobs::get().graph, "--data",  world().data(), "--seed",
                         "1",   "--out", Blobs::get().model, "--resume"};
  const Result again = diffscm(fit + Arguments{"--set", "image.steps=39"});
  EXPECT_EQ(again.code, 0) << again.err;
  expect_failure(diffscm(fit + Arguments{"--quiet"}), 1, "another graph");  // of 40 steps
  expect_failure(
      diffscm({"scm", "fit", Blobs::get().graph, "--data", world().data(), "--seed", "2", "--set",
               "image.steps=39", "--out", Blobs::get().model, "--resume", "--quiet"}),
      1, "another seed");
}

TEST(ScmImages, BadFlagsLeaveNoFolder) {
  const std::string out = fresh();
  const Arguments judge = {"scm",    "evaluate",     Blobs::get().model,
                           "--data", world().data(), "--index",
                           "0:2",    "--out",        out};
  expect_failure(diffscm(judge + Arguments{"--variant", "image.level=3", "--quiet"}), 2,
                 "node \"image\": \"level\" cannot be changed");
  expect_failure(diffscm(judge + Arguments{"--variant", "image.scale=high", "--quiet"}), 2,
                 "scale cannot be \"high\"");
  expect_failure(diffscm(judge + Arguments{"--drop-missing"}), 2, "is for tables");
  EXPECT_FALSE(fs::exists(out));
}

TEST(ScmImages, SampleAndEvaluate) {
  const std::string samples = fresh(), judged = fresh();
  const Result r = diffscm(
      {"scm", "sample", Blobs::get().model, "--count", "12", "--do", "class=2", "--out", samples});
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(io::read_npz(fs::path(samples) / "images.npz").at("image").shape,
            (Shape{12, kSide, kSide, 1}));
  EXPECT_TRUE(fs::exists(fs::path(samples) / "grid.png"));
  // More than are drawn at once: the first of them are the same.
  const std::string many = fresh();
  const Result m = diffscm({"scm", "sample", Blobs::get().model, "--count", "40", "--do", "class=2",
                            "--out", many, "--noise", "--quiet"});
  ASSERT_EQ(m.code, 0) << m.err;
  const auto few = io::read_npz(fs::path(samples) / "images.npz").at("image").to_floats();
  auto all = io::read_npz(fs::path(many) / "images.npz").at("image").to_floats();
  EXPECT_EQ(all.size(), size_t{40 * kSide * kSide});
  all.resize(few.size());
  EXPECT_EQ(all, few);
  const auto noise = io::read_npz(fs::path(many) / "noise.npz");
  EXPECT_EQ(noise.at("class").shape[0], 40);
  EXPECT_FALSE(noise.contains("image"));

  const Result e = diffscm({"scm", "evaluate", Blobs::get().model, "--data", world().data(),
                            "--index", "0:3", "--variant", "image.scale=0", "--variant",
                            "image.abduction=ddim image.scale=1", "--out", judged, "--json"});
  ASSERT_EQ(e.code, 0) << e.err;
  const json summary = json::parse(e.out);
  ASSERT_EQ(summary["variants"].size(), 2u);
  const json& nothing = summary["variants"][0];
  // At scale 0 no parent matters: every counterfactual is the factual image.
  EXPECT_LT(nothing["composition_10"].get<double>(), 0.01);
  EXPECT_LT(nothing["interventions"][0]["l1_factual"].get<double>(), 0.01);
  EXPECT_GT(summary["variants"][1]["interventions"][0]["l1_factual"].get<double>(), 0.01);
  for (const char* file : {"summary.json", "summary.csv", "report.html", "run.json"})
    EXPECT_TRUE(fs::exists(fs::path(judged) / file)) << file;
}

// By networks, none of which had a part in the answers, and by the benchmark's definitions.
TEST(ScmImages, NetworksJudge) {
  const std::string vae = fresh(), oracle = fresh(), judged = fresh();
  expect_success(diffscm(train_judge("vae", vae)));
  expect_success(diffscm(train_judge("oracle", oracle)));
  const Arguments ask{
      "scm",   "evaluate", Blobs::get().model, "--data", world().data(), "--index", "0:3",
      "--vae", vae,        "--oracle",         oracle,   "--cycled",     "2"};
  const Result r = diffscm(ask + Arguments{"--judge", "class=" + oracle, "--judge",
                                           "class=" + world().classifier(), "--compat", "benchmark",
                                           "--out", judged, "--json"});
  ASSERT_EQ(r.code, 0) << r.err;
  const json variant = json::parse(r.out)["variants"][0], asked = variant["interventions"][0];
  EXPECT_GE(asked["cld"].get<double>(), std::log(2.0));
  EXPECT_LE(asked["cld"].get<double>(), 1 + std::log(2.0));
  EXPECT_GT(asked["frechet"].get<double>(), 0);
  EXPECT_EQ(asked["attributes"][0]["read_by"], "judged");
  const json& benchmark = variant["benchmark"];
  EXPECT_EQ(benchmark["effectiveness"][0]["metric"], "accuracy");
  EXPECT_EQ(benchmark["effectiveness"][0]["value"]["mean"], asked["attributes"][0]["value"]);
  EXPECT_LE(benchmark["minimality"]["mean"].get<double>(), 1);
  EXPECT_EQ(benchmark["composition_1"]["mean"], variant["composition_1"]);  // 8 x 8: no frame
  EXPECT_EQ(benchmark["frechet"], asked["frechet"]);  // there is one attribute
  const std::string page = testing::get(fs::path(judged) / "report.html");
  for (const char* part : {"Minimality and realism", "counterfactual-benchmark", "581dbb4"})
    EXPECT_NE(page.find(part), std::string::npos) << part;

  const auto fails = [&](const Arguments& more, int code, std::string_view part) {
    expect_failure(diffscm(ask + more + Arguments{"--out", fresh(), "--quiet"}), code, part);
  };
  fails({"--judge", "class"}, 2, "NODE=MODEL");
  fails({"--judge", "image=" + oracle}, 1, "the graph has 0");
  fails({"--judge", "class=" + vae}, 1, "give an oracle, a classifier or a regressor");
  fails({"--compat", "paper"}, 2, "benchmark");
}

TEST(ScmImages, SayWhatIsWrong) {
  const std::string& model = Blobs::get().model;
  const auto fails = [](const Arguments& arguments, int code, std::string_view part) {
    expect_failure(diffscm(arguments + Arguments{"--quiet"}), code, part);
  };
  fails(ask(model, fresh()) + Arguments{"--do", "image=1"}, 2, "image");
  fails(ask(model, fresh()) + Arguments{"--do", "class=3", "--set", "image.steps=3"}, 2,
        "cannot be changed");
  fails(ask(model, fresh()) + Arguments{"--do", "class=3", "--set", "scale=3"}, 2,
        "NODE.KEY=VALUE");
  // A table has no images; a data set lacks an attribute of the graph.
  testing::put(world() / "table.csv", "class\n1\n");
  fails({"scm", "counterfactual", model, "--observed", world() / "table.csv", "--do", "class=3",
         "--out", fresh()},
        1, "not a data set");
  std::string more = kGraph;
  more.replace(more.find("parents = [\"class\"]"), 19, "parents = [\"class\", \"age\"]");
  testing::put(world() / "more.toml", more + "[nodes.age]\n");
  fails({"scm", "fit", world() / "more.toml", "--data", world().data(), "--out", fresh()}, 1,
        "does not say \"age\"");
  // Pictures that stay in files are held by scm all the same: as many as memory=N allows.
  const fs::path pictures = fresh();
  for (const char* name : {"0/a.png", "1/b.png"}) {
    fs::create_directories((pictures / name).parent_path());
    io::write_png(pictures / name, {8, 8, 1, std::vector<uint8_t>(64)});
  }
  fails({"scm", "fit", graph_of_classes(2), "--data", pictures.string() + ":memory=0", "--out",
         fresh()},
        1, "give fewer by --index");
  std::string known = kGraph;
  known.replace(known.find("steps = 40"), 10, "model = \"none.safetensors\"");
  testing::put(world() / "known.toml", known);
  fails(ask(world() / "known.toml", fresh()) + Arguments{"--do", "class=3"}, 1, "none.safetensors");
}

}  // namespace
}  // namespace diffscm
