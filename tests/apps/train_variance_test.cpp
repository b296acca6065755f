// diffscm train diffusion, of a network that learns the variance of its steps (out_channels twice
// in_channels).
#include "tests/apps/commands.h"

namespace diffscm {
namespace {

Arguments train_variance(const std::string& out, const Arguments& more = {}) {
  return train("diffusion", out) +
         Arguments{"--set", "unet.out_channels=2", "--log-every", "1", "--seed", "4"} + more;
}

// T = 1000, so that the loss is the plain sum.
void expect_both_parts(const json& record) {
  const double mse = record.at("mse"), vlb = record.at("vlb");
  EXPECT_GT(mse, 0);
  EXPECT_GT(vlb, 0);
  EXPECT_NEAR(record.at("loss").get<double>(), mse + vlb, 1e-6 * (mse + vlb));
}

TEST(TrainVariance, LogModelAndEvaluationTellBothParts) {
  const std::string out = fresh();
  const fs::path data = world() / "with-test.npz";
  const auto images = io::read_npz(world().data()).at("images");
  io::write_npz(data, {{"train_images", images}, {"test_images", images}});
  Arguments a = train_variance(out, {"--steps", "12"});
  *std::find(a.begin(), a.end(), world().data()) = data;
  const Result r = diffscm(a);
  expect_success(r);
  EXPECT_NE(r.err.find("test bits per number and step"), std::string::npos) << r.err;
  const auto log = io::read_jsonl(out + "/log.jsonl");
  ASSERT_EQ(log.size(), 12u);
  for (const json& line : log) expect_both_parts(line);
  const auto metadata = io::read_safetensors(out + "/model.safetensors").metadata;
  const json training = json::parse(metadata.at("training"));
  for (const char* part : {"loss", "mse", "vlb"}) EXPECT_EQ(training[part], log.back()[part]);
  EXPECT_EQ(json::parse(metadata.at("config"))["out_channels"], 2);
  const json evaluation = read_json(out + "/evaluation.json");
  EXPECT_GT(evaluation["test_loss"], 0);
  EXPECT_GT(evaluation["test_vlb"], 0);
  EXPECT_FALSE(evaluation.contains("test_vlb_told"));
}

TEST(TrainVariance, ANetworkWithoutItSaysNothingOfParts) {
  const fs::path run = world().unet();
  EXPECT_FALSE(io::read_jsonl(run / "log.jsonl").back().contains("vlb"));
  EXPECT_FALSE(read_json(run / "evaluation.json").contains("test_vlb"));
}

TEST(TrainVariance, TheSamplerTakesWhatWasLearnt) {
  const std::string out = fresh(), learnt = fresh(), small = fresh();
  expect_success(diffscm(train_variance(out, {"--steps", "12", "--quiet"})));
  const auto draw = [&](const std::string& to, const Arguments& more) {
    expect_success(diffscm(
        Arguments{"sample", "--model", out, "--sampler", "ddpm", "--count", "2", "--out", to} +
        more));
    return io::read_npz(to + "/samples.npz").at("samples").to_floats();
  };
  EXPECT_NE(draw(learnt, {}), draw(small, {"--variance", "small"}));
}

TEST(TrainVariance, ResumesBitForBit) {
  const std::string whole = fresh(), parts = fresh();
  const auto steps = [](const char* n) { return Arguments{"--steps", n, "--quiet"}; };
  expect_success(diffscm(train_variance(whole, steps("6"))));
  expect_success(diffscm(train_variance(parts, steps("3"))));
  expect_success(diffscm(train_variance(parts, steps("6") + Arguments{"--resume"})));
  expect_same_models(whole, parts);
  const auto a = io::read_jsonl(whole + "/log.jsonl"), b = io::read_jsonl(parts + "/log.jsonl");
  ASSERT_EQ(b.size(), 6u);
  for (size_t i = 0; i < 6; ++i)
    for (const char* part : {"loss", "mse", "vlb"}) EXPECT_EQ(a[i][part], b[i][part]) << i;
}

// By parts, with stages computed again, and as a recorded step of kernels: the same loss of the
// first step to rounding, of its parts too. The loss's own settings beside it.
TEST(TrainVariance, PartsOfABatchAndOtherTargetsAgree) {
  for (const char* loss : {"uniform", "min-snr"}) {
    const auto first_steps = [&](const Arguments& more) {
      const std::string out = fresh();
      expect_success(
          diffscm(train_variance(out, Arguments{"--steps", "3", "--quiet", "--set",
                                                std::string("train.diffusion.loss=") + loss} +
                                          more)));
      return io::read_jsonl(out + "/log.jsonl");
    };
    const auto plain = first_steps({});
    for (const Arguments& more :
         {Arguments{"--micro-batch", "3"}, {"--recompute"}, {"--device", "emu"}}) {
      SCOPED_TRACE(more[0] + " " + loss);
      const auto other = first_steps(more);
      for (size_t step = 0; step < 3; ++step)
        for (const char* part : {"loss", "mse", "vlb"}) {
          const double expected = plain[step][part];
          EXPECT_NEAR(other[step][part], expected, 2e-3 * expected) << part << " " << step;
        }
    }
  }
}

// The data decide how many channels there are, not whether the variance is among them.
TEST(TrainVariance, ItsChannelsFollowTheData) {
  const fs::path data = world() / "colours.npz";
  io::write_npz(
      data, {{"images", io::NpyArray::from(std::vector<float>(4 * 64 * 3, 0.5f), {4, 8, 8, 3})}});
  for (const char* wish : {"2", "6"}) {
    const std::string out = fresh();
    const Result r =
        diffscm({"train", "diffusion", "--preset", world().preset(), "--data", data, "--out", out,
                 "--steps", "1", "--set", std::string("unet.out_channels=") + wish});
    expect_success(r);
    EXPECT_EQ(read_json(out + "/config.json")["unet"]["out_channels"], 6);
  }
  const std::string out = fresh();
  expect_failure(diffscm({"train", "diffusion", "--preset", world().preset(), "--data", data,
                          "--out", out, "--quiet", "--set", "unet.out_channels=4"}),
                 2, "out_channels = 3");
  EXPECT_TRUE(is_empty(out));
}

}  // namespace
}  // namespace diffscm
