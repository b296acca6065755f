// diffscm likelihood, as a user runs it.
#include "tests/apps/experiments.h"

namespace diffscm {
namespace {

Arguments likelihood(const std::string& index, const std::string& out) {
  return {"likelihood", "--model", world().unet(), "--data", world().data(), "--index",    index,
          "--device",   "cpu",     "--steps",      "5",      "--out",        world() / out};
}

TEST(LikelihoodCommand, AnImagesValueDoesNotDependOnItsBatch) {
  const Result many = diffscm(likelihood("0:5", "likelihood") + Arguments{"--batch", "3"});
  ASSERT_EQ(many.code, 0) << many.err;
  const Result one = diffscm(likelihood("4", "likelihood-one"));
  ASSERT_EQ(one.code, 0) << one.err;
  const auto all = io::read_jsonl(world() / "likelihood" / "results.jsonl"),
             alone = io::read_jsonl(world() / "likelihood-one" / "results.jsonl");
  ASSERT_EQ(all.size(), 5u);
  ASSERT_EQ(alone.size(), 1u);
  EXPECT_EQ(all[4], alone[0]);
  double sum = 0;
  for (const json& line : all) sum += line["bits_per_dimension"].get<double>();
  const json run = json::parse(testing::get(world() / "likelihood" / "run.json"));
  EXPECT_NEAR(run["summary"]["bits_per_dimension"].get<double>(), sum / 5, 1e-9);
  EXPECT_EQ(run["summary"]["steps"], 5);
}

TEST(LikelihoodCommand, MoreDrawsHaveAnError) {
  const Result r =
      diffscm(likelihood("0:2", "likelihood-draws") + Arguments{"--draws", "3", "--json"});
  ASSERT_EQ(r.code, 0) << r.err;
  for (const json& line : io::read_jsonl(world() / "likelihood-draws" / "results.jsonl"))
    EXPECT_GT(line["standard_error"].get<double>(), 0);
  EXPECT_TRUE(std::isfinite(json::parse(r.out)["bits_per_dimension"].get<double>()));
}

TEST(LikelihoodCommand, RefusesToTellAnUnconditionalModel) {
  expect_failure(diffscm(likelihood("0", "likelihood-told") + Arguments{"--told", "parents"}), 2,
                 "unconditional");
  EXPECT_FALSE(fs::exists(world() / "likelihood-told"));
}

TEST(LikelihoodCommand, RefusesToTellParentsThatTheDataDoNotSay) {
  const std::string data = world() / "without-labels.npz", out = fresh();
  io::write_npz(data, {{"images", io::NpyArray::from(std::vector<float>(2 * kSide * kSide, 0.5f),
                                                     {2, kSide, kSide})}});
  const Arguments told{"likelihood", "--model", conditional_unet(), "--data", data, "--steps",
                       "5",          "--told",  "parents",          "--out",  out};
  expect_failure(diffscm(told), 2, "does not say the 'class' of image 0: take --told nothing");
  EXPECT_TRUE(is_empty(out));
}

}  // namespace
}  // namespace diffscm
