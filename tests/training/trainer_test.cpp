#include "training/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "engine/io/jsonl.h"
#include "engine/io/safetensors.h"
#include "models/unet.h"
#include "tests/engine/io_testing.h"
#include "training/noisy_batches.h"

namespace diffscm {
namespace {

using testing::expect_error;
using testing::TemporaryFolder;

data::Dataset dark_images(int64_t size) {
  data::Dataset d;
  d.name = "dark";
  d.height = d.width = 4;
  d.channels = 1;
  for (int64_t i = 0; i < size * 16; ++i)
    d.pixels.push_back(-0.9f + 0.1f * std::sin(static_cast<float>(i)));
  return d;
}

class TrainerTest : public ::testing::Test {
 protected:
  TrainerTest() {
    config_.image_size = 4;
    config_.channel_mult = {1};
    config_.dropout = 0.1;
    options_.steps = 6;
    options_.batch = 4;
    options_.seed = 5;
    options_.adamw = {.lr = 2e-3, .weight_decay = 0.01, .ema_decay = 0.99};
    options_.warmup_steps = 2;
    options_.cosine_decay = true;
    options_.log_every = 1;
    options_.out = folder_ / "run";
  }

  // A fresh process, as far as the trainer can tell. `at_log` is called at each log line.
  TrainingEnd run(const TrainingOptions& options,
                  const std::function<void(const TrainingProgress&)>& at_log = {},
                  int64_t stop_after = 1 << 30) {
    UNet unet(config_, options.seed);
    TrainingTask task;
    task.parameters = named_parameters(unet);
    const NoisyBatches batches(dataset_, schedule_, options.batch, options.seed, Target::cpu);
    task.batch = [&](int64_t step) {
      const NoisyBatch b = batches.batch(step);
      return TrainingBatch{b.x_t, b.t, b.noise};
    };
    task.loss = [&](const TrainingBatch& batch, ForwardContext& context) {
      ++steps_run_;
      return mse_loss(unet.forward(batch[0], batch[1], context), batch[2]);
    };
    task.info.kind = UNet::kKind;
    task.info.config = config_;
    task.info.diffusion = {{"schedule", "linear"}, {"timesteps", 100}};
    task.info.data = {{"name", dataset_.name}};
    task.info.training = {{"command", "test"}};
    task.settings = settings_;
    int64_t step = 0;
    TrainingCallbacks callbacks;
    callbacks.begin = [&] { ++begun_; };
    callbacks.progress = [&](const TrainingProgress& p) {
      step = p.step;
      losses_.push_back(p.loss);
      if (at_log) at_log(p);
    };
    callbacks.message = [&](const std::string& line) { message_ += line + "\n"; };
    callbacks.stop = [&] { return step >= stop_after; };
    return train(task, options, callbacks);
  }

  TrainingOptions into(const char* name, bool resume = false) const {
    TrainingOptions o = options_;
    o.out = folder_ / name;
    o.resume = resume;
    return o;
  }

  void expect_same_tensors(const char* a, const char* b) {
    for (const char* file : {"model.safetensors", "checkpoint.safetensors"}) {
      SCOPED_TRACE(file);
      const auto x = io::read_safetensors(folder_ / a / file).tensors,
                 y = io::read_safetensors(folder_ / b / file).tensors;
      ASSERT_EQ(x.size(), y.size());
      for (const auto& [name, tensor] : x)
        EXPECT_EQ(tensor.to_vector(), y.at(name).to_vector()) << name;
    }
  }

  std::vector<int64_t> logged_steps(const char* name) const {
    std::vector<int64_t> steps;
    for (const auto& line : io::read_jsonl(folder_ / name / "log.jsonl"))
      steps.push_back(line.at("step"));
    return steps;
  }

  TemporaryFolder folder_;
  data::Dataset dataset_ = dark_images(20);
  NoiseSchedule schedule_{ScheduleKind::linear, 100};
  UNetConfig config_;
  TrainingOptions options_;
  std::vector<double> losses_;
  std::string message_;  // all of them, a line each
  nlohmann::json settings_ = nlohmann::json::object();
  int begun_ = 0;
  int64_t steps_run_ = 0;
};

const std::vector<int64_t> kSixSteps{1, 2, 3, 4, 5, 6};

TEST_F(TrainerTest, StagesComputedAgainGiveTheSameBits) {
  config_.channel_mult = {1, 1};
  config_.attention_downsample = {2};
  config_.resblock_updown = true;
  run(into("kept"));
  const int64_t losses = steps_run_;
  TrainingOptions o = into("again");
  o.recompute = true;
  run(o);
  EXPECT_EQ(steps_run_, 2 * losses);
  expect_same_tensors("kept", "again");
}

// 3 + 1 images of 4, under the dropout of the whole batch. A large eps: without it Adam makes steps
// of gradients that are nothing but rounding.
TEST_F(TrainerTest, MicroBatchesAddUpToTheBatch) {
  options_.adamw.eps = 1e-2;
  run(into("whole"));
  TrainingOptions o = into("parts");
  o.micro_batch = 3;
  steps_run_ = 0;
  run(o);
  EXPECT_EQ(steps_run_, 2 * o.steps);
  const auto whole = io::read_safetensors(folder_ / "whole/model.safetensors").tensors,
             parts = io::read_safetensors(folder_ / "parts/model.safetensors").tensors;
  for (const auto& [name, tensor] : whole) {
    const std::vector<float> a = tensor.to_vector(), b = parts.at(name).to_vector();
    for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 2e-6) << name;
  }
  for (size_t i = 0; i < losses_.size() / 2; ++i)
    EXPECT_NEAR(losses_[i], losses_[i + losses_.size() / 2], 1e-4);
}

TEST_F(TrainerTest, TheLossDecreases) {
  options_.steps = 80;
  options_.batch = 8;
  EXPECT_EQ(run(options_), TrainingEnd::finished);
  ASSERT_EQ(losses_.size(), 80u);
  EXPECT_NEAR(losses_.front(), 1, 0.4);  // an untrained network predicts 0: the mean of eps^2
  EXPECT_LT(std::accumulate(losses_.end() - 10, losses_.end(), 0.0) / 10, 0.5);
}

// A log line is the mean of the steps since the one before.
TEST_F(TrainerTest, LogLinesAreMeans) {
  run(into("each"));
  std::vector<double> each = losses_;
  losses_.clear();
  options_.log_every = 4;
  run(into("some"));
  ASSERT_EQ(losses_.size(), 2u);  // after step 4, and after the last
  EXPECT_NEAR(losses_[0], (each[0] + each[1] + each[2] + each[3]) / 4, 1e-12);
  EXPECT_NEAR(losses_[1], (each[4] + each[5]) / 2, 1e-12);
}

TEST_F(TrainerTest, WritesWhatItPromises) {
  run(options_);
  EXPECT_EQ(begun_, 1);
  auto loaded = load_model<UNet>(options_.out, Target::cpu);
  EXPECT_EQ(loaded.info.training["steps"], 6);
  EXPECT_EQ(loaded.info.training["samples_seen"], 24);
  EXPECT_EQ(loaded.info.training["seed"], 5);
  EXPECT_EQ(loaded.info.training["command"], "test");
  EXPECT_EQ(loaded.info.diffusion["timesteps"], 100);
  EXPECT_EQ(logged_steps("run"), kSixSteps);
  const auto lines = io::read_jsonl(options_.out / "log.jsonl");
  EXPECT_DOUBLE_EQ(lines[0]["lr"], 1e-3);  // the first of two warm-up steps
  EXPECT_DOUBLE_EQ(lines[1]["lr"], 2e-3);
  EXPECT_LT(lines[5]["lr"], 0.5e-3);  // cosine decay
  for (const auto& line : lines)
    for (const char* key : {"loss", "gradient_rms", "samples_per_second", "seconds"})
      EXPECT_TRUE(line.at(key).is_number() && line[key] >= 0) << key;
}

TEST_F(TrainerTest, TheModelFileHoldsTheMovingAverage) {
  options_.steps = 1;
  options_.warmup_steps = 0;
  run(options_);
  const auto checkpoint = io::read_safetensors(options_.out / "checkpoint.safetensors").tensors;
  EXPECT_NE(checkpoint.at("ema").to_vector(), checkpoint.at("values").to_vector());
  const auto model = io::read_safetensors(options_.out / "model.safetensors").tensors;
  // out.2.bias starts at 0, moves by lr * +-1, and 9/11 of that reaches the average.
  EXPECT_NEAR(std::abs(model.at("out.2.bias").to_vector()[0]), 2e-3 * 9 / 11, 1e-6);
}

TEST_F(TrainerTest, ResumingEndsBitForBitWhereAnUninterruptedRunDoes) {
  EXPECT_EQ(run(into("whole")), TrainingEnd::finished);
  EXPECT_EQ(run(into("parts"), {}, 3), TrainingEnd::stopped);
  EXPECT_EQ(logged_steps("parts"), (std::vector<int64_t>{1, 2, 3}));
  steps_run_ = 0;
  EXPECT_EQ(run(into("parts", /*resume=*/true)), TrainingEnd::finished);
  EXPECT_EQ(steps_run_, 3);
  EXPECT_NE(message_.find("at step 3"), std::string::npos) << message_;
  EXPECT_EQ(logged_steps("parts"), kSixSteps);
  expect_same_tensors("whole", "parts");
}

TEST_F(TrainerTest, ResumingAfterACrashGoesBackToTheLastCheckpoint) {
  options_.checkpoint_every = 2;
  run(into("whole"));
  const auto crash = [](const TrainingProgress& p) {
    if (p.step == 5) throw std::runtime_error("power failure");
  };
  EXPECT_THROW(run(into("parts"), crash), std::runtime_error);
  EXPECT_EQ(logged_steps("parts").back(), 5);
  steps_run_ = 0;
  run(into("parts", /*resume=*/true));
  EXPECT_EQ(steps_run_, 2);  // from step 4
  EXPECT_EQ(logged_steps("parts"), kSixSteps) << "step 5 must not appear twice";
  expect_same_tensors("whole", "parts");
}

TEST_F(TrainerTest, ResumingAFinishedRunChangesNothing) {
  run(into("a"));
  run(into("b"));
  steps_run_ = 0;
  EXPECT_EQ(run(into("b", /*resume=*/true)), TrainingEnd::finished);
  EXPECT_EQ(steps_run_, 0);
  expect_same_tensors("a", "b");
  EXPECT_EQ(logged_steps("b"), kSixSteps);
}

TEST_F(TrainerTest, ResumingWhereThereIsNothingStartsAtTheBeginning) {
  EXPECT_EQ(run(into("new", /*resume=*/true)), TrainingEnd::finished);
  EXPECT_NE(message_.find("nothing to resume"), std::string::npos) << message_;
  EXPECT_EQ(logged_steps("new"), kSixSteps);
}

TEST_F(TrainerTest, StopsWhenItsTimeIsUpAndKeepsWhatItHas) {
  TrainingOptions o = into("run");
  o.steps = 1'000'000;
  o.minutes = 1e-9;
  EXPECT_EQ(run(o), TrainingEnd::out_of_time);
  EXPECT_EQ(steps_run_, 1);
  o.resume = true;
  EXPECT_EQ(run(o), TrainingEnd::out_of_time);
  EXPECT_EQ(load_model<UNet>(o.out, Target::cpu).info.training["steps"], 2);
}

TEST_F(TrainerTest, RefusesToOverwriteARun) {
  run(options_);
  const std::string before = testing::get(options_.out / "checkpoint.safetensors");
  expect_error([&] { run(options_); }, "add --resume");
  EXPECT_EQ(testing::get(options_.out / "checkpoint.safetensors"), before);
  std::filesystem::remove(options_.out / "checkpoint.safetensors");
  for (const bool resume : {false, true}) {
    options_.resume = resume;
    expect_error([&] { run(options_); }, "a model without the checkpoint");
  }
  EXPECT_EQ(logged_steps("run"), kSixSteps);
  EXPECT_EQ(begun_, 1);
}

TEST_F(TrainerTest, RefusesToResumeWithOtherSettings) {
  run(options_);
  const TrainingOptions original = into("run", /*resume=*/true);
  const auto refused = [&](const char* setting,
                           const std::function<void(TrainingOptions&)>& change) {
    TrainingOptions o = original;
    change(o);
    expect_error([&] { run(o); }, std::string("trained with ") + setting + " = ");
  };
  refused("steps", [](TrainingOptions& o) { o.steps = 3; });
  refused("batch", [](TrainingOptions& o) { o.batch = 8; });
  refused("seed", [](TrainingOptions& o) { o.seed = 6; });
  refused("beta1", [](TrainingOptions& o) { o.adamw.beta1 = 0.8; });
  refused("beta2", [](TrainingOptions& o) { o.adamw.beta2 = 0.99; });
  refused("eps", [](TrainingOptions& o) { o.adamw.eps = 1e-6; });
  refused("lr", [](TrainingOptions& o) { o.adamw.lr = 1e-3; });
  refused("weight_decay", [](TrainingOptions& o) { o.adamw.weight_decay = 0; });
  refused("ema_decay", [](TrainingOptions& o) { o.adamw.ema_decay = 0.9; });
  refused("warmup_steps", [](TrainingOptions& o) { o.warmup_steps = 0; });
  refused("cosine_decay", [](TrainingOptions& o) { o.cosine_decay = false; });
  refused("config.dropout", [&](TrainingOptions&) { config_.dropout = 0; });
  config_.dropout = 0.1;
  EXPECT_EQ(begun_, 1);

  settings_ = {{"precision", "f32"}, {"beta", 0.25}};
  options_.out = folder_ / "other";
  run(options_);
  const TrainingOptions other = into("other", /*resume=*/true);
  settings_["precision"] = "bf16";
  expect_error([&] { run(other); }, "trained with precision = \"f32\", now it is \"bf16\"");
  settings_ = {{"precision", "f32"}};
  expect_error([&] { run(other); }, "trained with beta = 0.25, now with none");
  EXPECT_EQ(begun_, 2);
}

// A schedule without an end does not know that it was to be shorter.
TEST_F(TrainerTest, ATrainedRunCanBeTrainedOn) {
  options_.cosine_decay = false;
  TrainingOptions shorter = into("parts");
  shorter.steps = 4;
  run(shorter);
  message_.clear();
  EXPECT_EQ(run(into("parts", /*resume=*/true)), TrainingEnd::finished);
  EXPECT_NE(message_.find("at step 4"), std::string::npos) << message_;
  EXPECT_NE(message_.find("planned for 4 steps, now 6"), std::string::npos) << message_;
  EXPECT_EQ(message_.find("cosine"), std::string::npos) << message_;
  EXPECT_EQ(logged_steps("parts"), kSixSteps);
  run(into("whole"));
  expect_same_tensors("whole", "parts");
}

TEST_F(TrainerTest, TrainingOnStretchesTheCosineScheduleAndSaysSo) {
  run(options_);
  TrainingOptions longer = into("run", /*resume=*/true);
  longer.steps = 10;
  message_.clear();
  EXPECT_EQ(run(longer), TrainingEnd::finished);
  // After 2 warm-up steps, 4 of 8 are half of the cosine's way; 4 of 4 were its end.
  EXPECT_NE(message_.find("stretched, the learning rate at step 6 is 0.001 instead of 0"),
            std::string::npos)
      << message_;
  const auto lines = io::read_jsonl(folder_ / "run/log.jsonl");
  ASSERT_EQ(lines.size(), 10u);
  EXPECT_NEAR(lines[6]["lr"], 1e-3, 1e-12);
  EXPECT_GT(lines[9]["lr"], 0);
  EXPECT_LT(lines[9]["lr"], 1e-4);
}

// Checkpoints of earlier versions hold fewer settings.
TEST_F(TrainerTest, ACheckpointThatDoesNotSayASettingResumesWithAWord) {
  options_.steps = 3;
  options_.cosine_decay = false;
  run(options_);
  const auto path = options_.out / "checkpoint.safetensors";
  io::Safetensors file = io::read_safetensors(path);
  auto stored = nlohmann::json::parse(file.metadata["fingerprint"]);
  stored.erase("eps");
  file.metadata["fingerprint"] = stored.dump();
  io::write_safetensors(path, file);
  message_.clear();
  EXPECT_EQ(run(into("run", /*resume=*/true)), TrainingEnd::finished);
  EXPECT_NE(message_.find("does not say its eps"), std::string::npos) << message_;
}

// On another target the same numbers come out but for rounding.
TEST_F(TrainerTest, GoingOnOnAnotherTargetIsSaid) {
  run(options_);
  const auto path = options_.out / "checkpoint.safetensors";
  io::Safetensors file = io::read_safetensors(path);
  file.metadata["state"] = R"({"step": 6, "seconds": 1, "device": "cuda"})";
  io::write_safetensors(path, file);
  message_.clear();
  run(into("run", /*resume=*/true));
  EXPECT_NE(message_.find("trained on cuda and goes on on cpu"), std::string::npos) << message_;
}

TEST_F(TrainerTest, RefusesDamagedCheckpoints) {
  run(options_);
  const auto path = options_.out / "checkpoint.safetensors";
  const std::string bytes = testing::get(path);
  const io::Safetensors good = io::read_safetensors(path);
  options_.resume = true;
  testing::expect_truncations_refused(
      path, bytes, [&] { run(options_); }, 6);

  const auto refused = [&](const std::function<void(io::Safetensors&)>& change,
                           std::string_view part) {
    io::Safetensors bad = good;
    change(bad);
    io::write_safetensors(path, bad);
    expect_error([&] { run(options_); }, part);
  };
  const auto state = [](const char* text) {
    return [text](io::Safetensors& f) { f.metadata["state"] = text; };
  };
  refused([](io::Safetensors& f) { f.metadata.clear(); }, "not a training checkpoint");
  refused([](io::Safetensors& f) { f.metadata["fingerprint"] = "[1"; },
          "not a training checkpoint");
  refused(state("{}"), "not a training checkpoint");
  refused(state(R"({"step": -1, "seconds": 1})"), "not a training checkpoint");
  refused(state(R"({"step": "3", "seconds": 1})"), "not a training checkpoint");
  refused(state(R"({"step": 3, "seconds": "long"})"), "not a training checkpoint");
  refused(state(R"({"step": 7, "seconds": 1})"), "step 7 of 6");
  refused([](io::Safetensors& f) { f.tensors.erase("adam.v"); }, "adam.v");
  refused([](io::Safetensors& f) { f.tensors["ema"] = Tensor::zeros({3}); }, "ema");
  std::filesystem::copy_file(options_.out / "model.safetensors", path,
                             std::filesystem::copy_options::overwrite_existing);
  expect_error([&] { run(options_); }, "not a training checkpoint");
}

TEST_F(TrainerTest, ALossThatIsNotFiniteEndsTheRunAndKeepsTheLastCheckpoint) {
  options_.steps = 50;
  options_.warmup_steps = 0;
  options_.checkpoint_every = 1;
  run(into("run"), {}, 2);
  TrainingOptions o = into("run", /*resume=*/true);
  for (float& v : dataset_.pixels) v = NAN;
  expect_error([&] { run(o); }, "learning rate");
  const auto values = io::read_safetensors(o.out / "checkpoint.safetensors").tensors;
  for (const float v : values.at("values").to_vector()) ASSERT_TRUE(std::isfinite(v));
}

TEST_F(TrainerTest, RefusesSettingsThatMakeNoSense) {
  for (const auto field :
       {&TrainingOptions::steps, &TrainingOptions::log_every, &TrainingOptions::checkpoint_every}) {
    TrainingOptions o = options_;
    o.*field = 0;
    expect_error([&] { run(o); }, "at least 1");
  }
}

}  // namespace
}  // namespace diffscm
