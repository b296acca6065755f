// Experiments: what is drawn, that nothing is lost or done twice, and what the tables say.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>

#include "data/mnist.h"
#include "evaluation/experiment.h"
#include "evaluation/summary.h"
#include "kernels/error.h"

namespace diffscm {
namespace {

namespace fs = std::filesystem;

data::Dataset small_world(int64_t size) {
  data::Dataset d;
  d.name = "small";
  d.height = d.channels = 1;
  d.width = 2;
  std::vector<double> digits;
  for (int64_t i = 0; i < size; ++i) {
    digits.push_back(static_cast<double>(i % 10));
    d.pixels.push_back(static_cast<float>(i) / static_cast<float>(size));
    d.pixels.push_back(-static_cast<float>(i) / static_cast<float>(size));
  }
  d.add(data::numbered_category("digit", 10), digits);
  return d;
}

class Folder : public ::testing::Test {
 protected:
  Folder()
      : path(fs::temp_directory_path() /
             fmt::format("diffscm-evaluation-{}-{}", ::getpid(),
                         ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    fs::remove_all(path);
  }
  ~Folder() override { fs::remove_all(path); }
  fs::path path;
};
using ExperimentFolder = Folder;

TEST(Trials, AreDifferentImagesWithPlausibleTargets) {
  data::Dataset d = small_world(60);
  d.plausible = data::plausible_digits();
  const auto trials = draw_trials(d, 3, 40, 5);
  ASSERT_EQ(trials.size(), 120u);
  for (int repeat = 0; repeat < 3; ++repeat) {
    std::set<int64_t> seen;
    for (const Trial& t : trials)
      if (t.repeat == repeat) seen.insert(t.index);
    EXPECT_EQ(seen.size(), 40u);
  }
  std::set<std::pair<int64_t, int64_t>> pairs;
  for (size_t i = 0; i < trials.size(); ++i) {
    const Trial& t = trials[i];
    EXPECT_EQ(t.id, static_cast<int64_t>(i));
    const int64_t from = states_of({&t, 1}).factual[0], to = states_of({&t, 1}).target[0];
    EXPECT_EQ(t.factual, (data::Assignment{{"digit", static_cast<double>(t.index % 10)}}));
    EXPECT_EQ(from, t.index % 10);
    EXPECT_EQ(t.set, (data::Assignment{{"digit", static_cast<double>(to)}}));
    const auto allowed = d.plausible_targets(from);
    EXPECT_TRUE(std::count(allowed.begin(), allowed.end(), to)) << from << to;
    pairs.emplace(from, to);
  }
  EXPECT_GT(pairs.size(), 20u);  // of 26
  EXPECT_NE(trials[0].index, trials[40].index);
  EXPECT_EQ(draw_trials(d, 3, 40, 5)[77].index, trials[77].index);
  EXPECT_NE(draw_trials(d, 3, 40, 6)[77].index * 60 + draw_trials(d, 3, 40, 6)[78].index,
            trials[77].index * 60 + trials[78].index);
}

TEST(Trials, RejectWhatCannotBeDrawn) {
  EXPECT_THROW(draw_trials(small_world(9), 1, 10, 0), Error);
  EXPECT_THROW(draw_trials(small_world(9), 0, 5, 0), Error);
  data::Dataset unlabelled = small_world(9);
  unlabelled.labels.clear();
  EXPECT_THROW(draw_trials(unlabelled, 1, 5, 0), Error);
  data::Dataset one_class = small_world(9);
  one_class.classes = 1;
  one_class.labels.assign(9, 0);
  EXPECT_THROW(draw_trials(one_class, 1, 5, 0), Error);
}

TEST(Trials, StatesAreThoseOfTheOneCategoryThatIsSet) {
  std::vector<Trial> trials{{.factual = {{"digit", 3}, {"thickness", 2.5}}, .set = {{"digit", 5}}},
                            {.factual = {{"digit", 1}}, .set = {{"digit", 7}}}};
  const States states = states_of(trials);
  EXPECT_EQ(states.factual, (std::vector<int64_t>{3, 1}));
  EXPECT_EQ(states.target, (std::vector<int64_t>{5, 7}));
  trials[1].set = {{"thickness", 3.5}};
  EXPECT_THROW(states_of(trials), Error);
  trials[0].set = {{"thickness", 3.5}};  // a number: no state
  EXPECT_THROW(states_of({trials.data(), 1}), Error);
  trials[0].set = {{"digit", 5}, {"thickness", 3}};
  EXPECT_THROW(states_of({trials.data(), 1}), Error);
}

struct Stop {};

// Two arms, x and -x; `asked` counts images, and the run is cut off after `limit` batches.
struct Fixture {
  data::Dataset dataset = small_world(30);
  std::vector<Trial> trials = draw_trials(dataset, 2, 10, 1);
  std::map<int64_t, int> asked;
  int limit = 1 << 30;
  std::set<int64_t> broken;  // trials that `negative` answers with NaN

  void run(const fs::path& out, int64_t batch, bool resume, int shard = 0, int shards = 1,
           int settings = 1) {
    int batches = 0;
    const Producer producer{{{"same", "same", {}}, {"negative", "negative", {}}},
                            [&](const Tensor& factual, std::span<const Trial> batch) {
                              if (batches++ == limit) throw Stop{};
                              for (const Trial& t : batch) ++asked[t.id];
                              std::vector<float> negative = factual.to_vector();
                              for (float& v : negative) v = -3 * v;
                              for (size_t i = 0; i < batch.size(); ++i)
                                if (broken.contains(batch[i].id)) negative[2 * i + 1] = NAN;
                              return std::vector<ArmAnswer>{
                                  {factual, {}},
                                  {Tensor::from(negative, factual.shape()),
                                   std::vector<Metrics>(batch.size(), Metrics{{"residual", 2.0}})}};
                            }};
    const Scorer scorer = [](const Tensor& factual, const Tensor& image,
                             std::span<const Trial> batch) {
      std::vector<Metrics> metrics;
      const auto a = factual.to_vector(), b = image.to_vector();
      for (const float v : b) require(std::isfinite(v), "the scorer saw {}", v);
      for (size_t i = 0; i < batch.size(); ++i)
        metrics.push_back({{"im1", b[2 * i]}, {"l1", std::abs(b[2 * i] - a[2 * i])}});
      return metrics;
    };
    run_experiment(dataset, trials, {producer}, scorer,
                   {.out = out,
                    .settings = {{"value", settings}},
                    .shard = shard,
                    .shards = shards,
                    .batch = batch,
                    .resume = resume},
                   {});
  }
};

TEST_F(ExperimentFolder, LeavesARecordAndAnImagePerArmAndTrial) {
  Fixture f;
  f.run(path, 7, false);
  const auto records = read_records(path);
  ASSERT_EQ(records.size(), 40u);
  std::vector<int64_t> ids;
  for (const Trial& t : f.trials) ids.push_back(t.id);
  const auto images = read_images(path, "negative", ids).to_vector();
  for (const Record& r : records) {
    EXPECT_EQ(r.trial.factual, f.trials[static_cast<size_t>(r.trial.id)].factual);
    EXPECT_EQ(r.trial.set, f.trials[static_cast<size_t>(r.trial.id)].set);
    const float x = f.dataset.pixels[static_cast<size_t>(2 * r.trial.index)];
    const double expected = r.arm == "same" ? x : std::max(-1.0f, -3 * x);  // clamped
    EXPECT_EQ(r.metrics.at("im1"), expected);
    if (r.arm != "negative") continue;
    EXPECT_EQ(images[static_cast<size_t>(2 * r.trial.id)], static_cast<float>(expected));
    EXPECT_EQ(r.metrics.at("residual"), 2);
  }
  EXPECT_TRUE(missing_trials(records, "same", f.trials).empty());
}

TEST_F(ExperimentFolder, ResumesWithAnotherBatchSizeDoingNothingTwice) {
  Fixture f;
  f.limit = 2;
  EXPECT_THROW(f.run(path, 6, false), Stop);
  // As after kill -9 in the middle of a line.
  std::ofstream(path / "records" / "0-of-1.jsonl", std::ios::app) << "{\"arm\": \"sa";
  f.limit = 1 << 30;
  f.run(path, 5, true);
  for (const Trial& t : f.trials) EXPECT_EQ(f.asked[t.id], 1) << t.id;
  EXPECT_EQ(read_records(path).size(), 40u);
}

TEST_F(ExperimentFolder, ShardsMeetAndResultsDoNotDependOnThem) {
  Fixture f, g;
  f.run(path / "a", 4, false, 0, 3);
  f.run(path / "a", 3, true, 1, 3);
  EXPECT_FALSE(missing_trials(read_records(path / "a"), "same", f.trials).empty());
  f.run(path / "a", 9, true, 2, 3);
  g.run(path / "b", 20, false);
  const auto a = read_records(path / "a"), b = read_records(path / "b");
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].trial.id, b[i].trial.id);
    EXPECT_EQ(a[i].metrics, b[i].metrics);
  }
}

TEST_F(ExperimentFolder, AnImageThatIsNotFiniteIsRecordedAndTheOthersGoOn) {
  Fixture f;
  f.broken = {0, 1, 8};  // 0 and 1: all of a batch
  f.run(path, 2, false);
  const auto records = read_records(path);
  ASSERT_EQ(records.size(), 40u);
  Fixture sound;
  sound.run(path / "sound", 20, false);
  const auto expected = read_records(path / "sound");
  for (size_t i = 0; i < records.size(); ++i) {
    const bool failed = records[i].arm == "negative" && f.broken.contains(records[i].trial.id);
    EXPECT_EQ(records[i].failed, failed) << i;
    EXPECT_EQ(records[i].trial.set, expected[i].trial.set);
    if (failed)
      EXPECT_EQ(records[i].metrics, (Metrics{{"residual", 2.0}}));
    else
      EXPECT_EQ(records[i].metrics, expected[i].metrics) << i;
  }
  EXPECT_TRUE(missing_trials(records, "negative", f.trials).empty());
  EXPECT_EQ(sound_trials(records, "same", f.trials).size(), 20u);
  const auto left = sound_trials(records, "negative", f.trials);
  ASSERT_EQ(left.size(), 17u);
  EXPECT_EQ(left[0].id, 2);
  const auto pixels = read_images(path, "negative", std::vector<int64_t>{8, 9}).to_vector();
  EXPECT_TRUE(std::isnan(pixels[1]));
  EXPECT_FALSE(std::isnan(pixels[3]));

  const auto s = summarise(records, {{"same", "", {}}, {"negative", "", {}}});
  EXPECT_EQ(s[0].failed, 0);
  EXPECT_EQ(s[1].failed, 3);
  EXPECT_EQ(s[1].metrics.at("l1").count, 17);
  EXPECT_FALSE(to_json(s)[0].contains("failed"));
  EXPECT_EQ(to_json(s)[1]["failed"], 3);
  EXPECT_EQ(failure_notes(s),
            std::vector<std::string>{"negative: 3 images failed, with pixels that are not finite; "
                                     "its metrics are of the others."});
}

TEST_F(ExperimentFolder, RefusesToMixExperiments) {
  Fixture f;
  f.run(path, 5, false);
  EXPECT_THROW(f.run(path, 5, false), Error);              // no --resume
  EXPECT_THROW(f.run(path, 5, true, 0, 1, 2), Error);      // other settings
  EXPECT_THROW(f.run(path / "x", 5, false, 3, 3), Error);  // no such shard
  EXPECT_THROW(read_records(path / "nothing"), Error);
  EXPECT_THROW(read_images(path, "same", std::vector<int64_t>{999}), Error);
}

TEST(Summary, IsWhatAHandComputes) {
  std::vector<Record> records;
  const auto add = [&](const char* arm, int repeat, double value) {
    records.push_back(
        {arm, {.id = static_cast<int64_t>(records.size()), .repeat = repeat}, {{"cld", value}}});
  };
  add("a", 0, 1);
  add("a", 0, 3);
  add("a", 1, 5);
  add("a", 1, std::nan(""));
  add("b", 0, 1.5);
  const auto s = summarise(records, {{"a", "A", {}}, {"b", "B", {}}});
  const Statistic a = s[0].metrics.at("cld");
  EXPECT_EQ(a.count, 3);
  EXPECT_DOUBLE_EQ(a.mean, 3);
  EXPECT_DOUBLE_EQ(a.spread, std::sqrt(4.5));                     // of the means 2 and 5
  EXPECT_NEAR(a.half_width, 4.30265 * 2 / std::sqrt(3.0), 1e-4);  // t, 2 degrees of freedom
  EXPECT_TRUE(std::isnan(s[1].metrics.at("cld").spread));
  EXPECT_EQ(best_arm(s, "cld"), 1);
  EXPECT_EQ(best_arm(s, "l1"), -1);
  EXPECT_THROW(best_arm(s, "cdl"), Error);  // a typo is not an empty column
  EXPECT_NE(to_csv(s).find("b,cld,1.5,,,1\n"), std::string::npos);
  EXPECT_NE(to_table(s, {"cld"}).find("3.000 +- 2.121"), std::string::npos);
}

}  // namespace
}  // namespace diffscm
