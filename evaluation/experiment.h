// An experiment that survives being killed: methods are run on trials, every finished image leaves
// its metrics in a line of text and itself in an archive, and whoever comes back does only what is
// missing. Shards and batch sizes may differ from one start to the next.
//
//   OUT/experiment.json       the settings; a resumed run must have the same
//   OUT/records/I-of-N.jsonl  one line per arm and image: arm, trial, metrics, whether it failed
//   OUT/images/ARM/ID.npz     id [n], image [n,H,W,C] in [-1, 1], from the trial ID onwards; of one
//                             of N shards: ID-of-N.npz
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "diffusion/progress.h"
#include "evaluation/metrics/table.h"
#include "evaluation/trials.h"

namespace diffscm {

// One way to answer: a method at one setting.
struct Arm {
  std::string name;   // "diff-scm", "s=0.7": letters, digits and - _ = . + only (it names a folder)
  std::string title;  // for people
  nlohmann::ordered_json options;
};

// What a producer gives for one arm and one batch.
struct ArmAnswer {
  Tensor image;                // [n,H,W,C]; clamped to [-1, 1] before anything else is done with it
  std::vector<Metrics> extra;  // [n] or empty: what only the method knows (residual, evaluations)
};

// Answers for several arms at once, because arms may share work (one abduction serves all scales).
struct Producer {
  std::vector<Arm> arms;
  std::function<std::vector<ArmAnswer>(const Tensor& factual, std::span<const Trial> trials)>
      answer;
};

// Sees only images that are finite.
using Scorer = std::function<std::vector<Metrics>(const Tensor& factual, const Tensor& image,
                                                  std::span<const Trial> trials)>;

struct ExperimentOptions {
  std::filesystem::path out;
  nlohmann::ordered_json settings;  // everything that changes results
  int shard = 0, shards = 1;        // this process does the trials with id % shards == shard
  int64_t batch = 50;
  bool resume = false;
};

struct ExperimentProgress {
  std::string arms;             // what is being done
  int64_t done = 0, total = 0;  // images of all producers in this shard
};

struct Record {
  std::string arm;
  Trial trial;
  Metrics metrics;      // of a failed one: only what the method itself counted
  bool failed = false;  // the image holds numbers that are not finite
};

// Runs every producer on this shard's unfinished trials. Shards may run side by side. Throws Error
// when OUT holds this shard of an experiment and `resume` is not set, when the settings differ, and
// for a metric that is not in the table; passes on what callbacks throw. An image that is not
// finite is recorded as failed, and the others go on.
void run_experiment(const data::Dataset& dataset, const std::vector<Trial>& trials,
                    const std::vector<Producer>& producers, const Scorer& scorer,
                    const ExperimentOptions& options,
                    const std::function<void(const ExperimentProgress&)>& progress);

// Every finished image of all shards, ordered by trial; an image that was done twice counts once.
std::vector<Record> read_records(const std::filesystem::path& out);
// The images of one arm by trial id. Throws Error naming the first that is missing.
Tensor read_images(const std::filesystem::path& out, const std::string& arm,
                   std::span<const int64_t> ids);
// Those of `trials` that have an image of the arm, and one that did not fail.
std::vector<Trial> sound_trials(const std::vector<Record>& records, const std::string& arm,
                                const std::vector<Trial>& trials);
// The trials an arm still lacks.
std::vector<int64_t> missing_trials(const std::vector<Record>& records, const std::string& arm,
                                    const std::vector<Trial>& trials);

}  // namespace diffscm
