// The training loop that every model shares: batches, gradients, optimiser, log, checkpoints,
// resume.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "autograd/adamw.h"
#include "models/checkpoint.h"

namespace diffscm {

struct TrainingOptions {
  int64_t steps = 30000;
  int64_t batch = 256;
  // > 0: a step computes so many images at a time and adds their gradients, which is the same to
  // rounding and takes less memory.
  int64_t micro_batch = 0;
  // Images at a time: as many as memory is known to hold, also when the result is measured.
  int64_t at_a_time() const { return micro_batch > 0 ? micro_batch : batch; }
  bool recompute = false;  // ForwardContext's
  uint64_t seed = 0;
  AdamwOptions adamw;
  int64_t warmup_steps = 0;             // linear from 0 to lr
  bool cosine_decay = false;            // from lr to 0 over `steps`, after the warm-up
  double lr_scale(int64_t step) const;  // the learning rate of a step, as a part of adamw.lr
  int64_t checkpoint_every = 1000;
  int64_t log_every = 50;
  double minutes = 0;  // stop after this much time in this session; 0: no limit
  bool resume = false;
  std::filesystem::path out;  // the run's folder
};

// Means over the steps since the last log line.
struct TrainingProgress {
  int64_t step = 0, steps = 0;
  double loss = 0, gradient_rms = 0, lr = 0;
  std::vector<std::pair<std::string, double>> parts{};  // TrainingTask's, of the loss
  double samples_per_second = 0, seconds = 0, eta_seconds = 0;
};

struct TrainingCallbacks {
  std::function<void()> begin;  // once, when nothing prevents the run from starting or going on
  std::function<void(const TrainingProgress&)> progress;  // each log_every steps
  std::function<void(const std::string&)> message;        // one line for people
  std::function<bool()> stop;                             // true: finish this step, save, return
};

enum class TrainingEnd { finished, out_of_time, stopped };

// What a step's loss reads, in the target's memory: at every step as many tensors, of the same
// shapes. Each task says what is in which place.
using TrainingBatch = std::vector<Tensor>;

// What a step minimises, one value per sample: [N]. Of a loss made of several, `parts` [N] each are
// what the log says beside it, as many as TrainingTask::parts.
struct TrainingLoss {
  TrainingLoss(Variable loss, std::vector<Tensor> of = {})  // NOLINT: most have no parts
      : total(std::move(loss)), parts(std::move(of)) {}
  Variable total;
  std::vector<Tensor> parts;
};

// What is trained. On a target that records steps `loss` is recorded: it sees the batch's tensors,
// never numbers on the host.
struct TrainingTask {
  std::vector<std::pair<std::string, Parameter*>> parameters;
  std::function<TrainingBatch(int64_t step)> batch;
  std::function<TrainingLoss(const TrainingBatch&, ForwardContext&)> loss;
  ModelInfo info;  // kind, config, diffusion and data filled in; training is completed here
  // What else changes the weights (precision, a loss's own numbers): a run resumes with the same.
  nlohmann::json settings = nlohmann::json::object();
  std::vector<std::string> parts{};  // of the loss, by their names in the log
};

// Trains until `steps`, the time limit or `stop`. The run's folder then holds
//   model.safetensors       the moving average of the weights: what --model reads
//   checkpoint.safetensors  weights, moments, average and step: what --resume reads
//   log.jsonl               one line per `log_every` steps: TrainingProgress
// Both tensor files are replaced atomically every `checkpoint_every` steps and at the end; a run
// that was killed resumes from the last of them and, on the same target, ends bit for bit where it
// would have. Resumed with more steps than before it is trained on; a cosine schedule is stretched
// to them. Throws Error when `out` holds a run and resume is not set, or a model without its
// checkpoint, when the run to resume had other settings, or when the loss stops being finite: at
// that step on cpu; where steps are recorded the losses are read at log lines, before checkpoints
// and every 64 steps, so that the device is not waited for, and no checkpoint is written once one
// of them is not finite.
TrainingEnd train(TrainingTask& task, const TrainingOptions& options,
                  const TrainingCallbacks& callbacks);

}  // namespace diffscm
