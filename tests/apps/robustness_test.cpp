// What a command survives: streams that are gone, signals, another process in its folder.
#include <sys/resource.h>

#include "tests/apps/experiments.h"

namespace diffscm {
namespace {

Result with_streams(const Arguments& arguments, const testing::Streams& streams) {
  return Program(world().path(), arguments, streams).wait();
}

TEST(Streams, TrainingGoesOnWithoutAStderr) {
  for (const char* err : {"closed", "/dev/full"}) {
    SCOPED_TRACE(err);
    const std::string out = fresh();
    const Result r = with_streams(
        train("diffusion", out) + Arguments{"--steps", "3", "--log-every", "1"}, {.err = err});
    EXPECT_EQ(r.code, 0);
    // No message has gone into a file that took the number of stderr.
    EXPECT_EQ(io::read_jsonl(out + "/log.jsonl").size(), 3u);
    expect_success(diffscm({"inspect", out}));
  }
}

TEST(Streams, AnErrorWithoutAStderrStillHasItsExitCode) {
  EXPECT_EQ(with_streams({"fly"}, {.err = "closed"}).code, 2);
  EXPECT_EQ(with_streams({"inspect", "nowhere.npz"}, {.err = "/dev/full"}).code, 1);
}

TEST(Streams, AStdoutThatTakesNothingIsAnError) {
  for (const char* out : {"/dev/full", "closed"})
    for (const Arguments& a :
         {Arguments{"targets"}, Arguments{"inspect", world().data(), "--json"}, Arguments{"--help"},
          sample(fresh()) + Arguments{"--json", "--quiet"}}) {
      SCOPED_TRACE(out + (" " + a[0]));
      expect_failure(with_streams(a, {.out = out}), 1, "stdout");
    }
}

TEST(Memory, ADataSetThatDoesNotFitIsSaidInWords) {
  rlimit whole{};
  ASSERT_EQ(::getrlimit(RLIMIT_AS, &whole), 0);
  const rlimit little{190 << 20, whole.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_AS, &little), 0);
  Program program(world().path(), {"inspect", "faces:size=64"});  // 900 MiB
  ASSERT_EQ(::setrlimit(RLIMIT_AS, &whole), 0);
  expect_failure(program.wait(), 1, "out of memory on the host: give a smaller data set");
}

TEST(Signals, EachOfThemStopsTrainingWithACheckpoint) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGPIPE}) {
    SCOPED_TRACE(signal);
    const std::string out = fresh();
    Program program(world().path(),
                    train("diffusion", out) + Arguments{"--steps", "100000", "--log-every", "1"});
    ASSERT_TRUE(program.run_until([&] {
      return fs::exists(out + "/log.jsonl") && io::read_jsonl(out + "/log.jsonl").size() > 1;
    }));
    program.signal(signal);
    // A shell and its terminal send SIGHUP each.
    if (signal == SIGHUP) program.signal(signal);
    const Result r = program.wait();
    EXPECT_EQ(r.code, 130) << r.err;
    const auto metadata = io::read_safetensors(out + "/model.safetensors").metadata;
    EXPECT_EQ(json::parse(metadata.at("training"))["steps"],
              io::read_jsonl(out + "/log.jsonl").back()["step"]);
  }
}

TEST(Signals, AStoppedCounterfactualLeavesWhatTheFolderHeld) {
  const std::string out = fresh();
  expect_success(diffscm(counterfactual(out) + Arguments{"--report", "--quiet"}));
  Program program(world().path(), counterfactual(out) + Arguments{"--steps", "1000", "--quiet"});
  ASSERT_TRUE(program.run_until([&] { return fs::exists(out + "/.lock"); }));
  program.signal(SIGINT);
  EXPECT_EQ(program.wait().code, 130);
  EXPECT_TRUE(fs::exists(out + "/report.html"));
}

TEST(OutputFolder, TwoRunsInOneFolderAreRefused) {
  const std::string out = fresh();
  const Arguments endless = train("diffusion", out) +
                            Arguments{"--steps", "100000", "--checkpoint-every", "1", "--quiet"};
  Program first(world().path(), endless);
  ASSERT_TRUE(first.run_until([&] { return fs::exists(out + "/checkpoint.safetensors"); }));
  const fs::path scratch = world() / "second";
  fs::create_directories(scratch);
  const Arguments resume = endless + Arguments{"--resume"};
  expect_failure(Program(scratch, resume).wait(), 1, "in use by another run");
  // A run that was killed leaves no lock that holds.
  first.signal(SIGKILL);
  first.wait();
  Program third(world().path(), resume);
  const auto lines = io::read_jsonl(out + "/log.jsonl").size();
  EXPECT_TRUE(third.run_until([&] { return io::read_jsonl(out + "/log.jsonl").size() > lines; }));
  third.signal(SIGTERM);
  EXPECT_EQ(third.wait().code, 130);
  EXPECT_FALSE(fs::exists(out + "/.lock"));
}

TEST(OutputFolder, ShardsOfAnExperimentShareItTwoOfTheSameDoNot) {
  const std::string out = fresh();
  const Arguments endless =
      tiny("evaluate", out) +
      Arguments{"--methods", "factual", "--images", "12", "--repeats", "2000", "--batch", "1"};
  const auto shard = [&](const char* name) { return endless + Arguments{"--shard", name}; };
  const auto works = [&](Program& program, const std::string& records) {
    const std::string file = out + "/records/" + records;
    return program.run_until([&] { return fs::exists(file) && fs::file_size(file) > 0; });
  };
  const fs::path scratch = world() / "other-shard";
  fs::create_directories(scratch);
  Program first(world().path(), shard("0/2")), second(scratch, shard("1/2"));
  ASSERT_TRUE(works(first, "0-of-2.jsonl"));
  ASSERT_TRUE(works(second, "1-of-2.jsonl"));
  const fs::path third = world() / "third-shard";
  fs::create_directories(third);
  expect_failure(Program(third, shard("1/2") + Arguments{"--resume"}).wait(), 1,
                 "in use by another run");
  for (Program* program : {&first, &second}) {
    program->signal(SIGTERM);
    EXPECT_EQ(program->wait().code, 130);
  }
  for (const auto& file : fs::directory_iterator(out))
    EXPECT_NE(file.path().filename().string().front(), '.') << file.path();
  expect_failure(Program(third, shard("1/2")).wait(), 1, "add --resume");

  const std::string whole = fresh();
  const Arguments unsharded{"evaluate",  "--methods", "factual", "--images", "12",
                            "--repeats", "2000",      "--batch", "1"};
  Program alone(world().path(), unsharded + of_model(runs() / "blobs-unet", whole));
  ASSERT_TRUE(alone.run_until([&] { return fs::exists(whole + "/experiment.json"); }));
  expect_failure(
      Program(third, unsharded + of_model(runs() / "blobs-unet", whole) + Arguments{"--resume"})
          .wait(),
      1, "in use by another run");
}

TEST(OutputFolder, AnotherCommandsResultsAreNotMixedWith) {
  const std::string samples = fresh();
  expect_success(diffscm(sample(samples) + Arguments{"--quiet"}));
  expect_success(diffscm(sample(samples) + Arguments{"--quiet"}));  // its own are replaced
  std::map<std::string, std::string> before;
  for (const auto& file : fs::directory_iterator(world().unet()))
    before[file.path().string()] = testing::get(file.path());
  for (const Arguments& a :
       {sample(world().unet()), abduct(world().unet()), counterfactual(world().unet()),
        abduct(samples), counterfactual(samples), train("diffusion", samples),
        tiny("sweep", samples) + Arguments{"--images", "2"},
        tiny("evaluate", world().unet()) + Arguments{"--images", "2"}})
    expect_failure(diffscm(a + Arguments{"--quiet"}), 1, "choose another folder");
  for (const auto& [path, bytes] : before) EXPECT_EQ(testing::get(path), bytes) << path;
  EXPECT_FALSE(fs::exists(samples + "/checkpoint.safetensors"));
}

TEST(OtherData, AClassifierOfOtherImagesIsUsedWithAWarning) {
  const fs::path other = world() / "others.npz";
  write_data(other, kSide);
  const std::string classifier = fresh();
  Arguments a = train("classifier", classifier);
  *std::find(a.begin(), a.end(), world().data()) = other;
  expect_success(diffscm(a + Arguments{"--steps", "1", "--quiet"}));
  const Result r = diffscm(sample(fresh()) + Arguments{"--classifier", classifier, "--class", "1"});
  expect_success(r);
  EXPECT_NE(r.err.find("warning"), std::string::npos) << r.err;
  for (const char* name : {"\"data\"", "\"others\""})
    EXPECT_NE(r.err.find(name), std::string::npos) << r.err;
  EXPECT_EQ(diffscm(sample(fresh()) + guided("1")).err.find("warning"), std::string::npos);

  const auto evaluated = [&](const Arguments& more) {
    const Result e = diffscm(Arguments{"evaluate", "--model", runs() / "blobs-unet", "--data",
                                       world().data(), "--steps", "2", "--methods", "factual",
                                       "--images", "2", "--repeats", "1", "--out", fresh()} +
                             more);
    EXPECT_EQ(e.code, 0) << e.err;
    return e.err;
  };
  const std::string err = evaluated({"--classifier", classifier});
  EXPECT_NE(err.find("warning"), std::string::npos) << err;
  EXPECT_NE(err.find("on \"others\""), std::string::npos) << err;
  EXPECT_EQ(evaluated({}).find("warning"), std::string::npos);
}

}  // namespace
}  // namespace diffscm
