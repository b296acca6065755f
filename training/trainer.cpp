#include "training/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numbers>

#include "engine/io/jsonl.h"
#include "training/training_run.h"
#include "training/training_step.h"

namespace diffscm {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

nlohmann::ordered_json log_line(const TrainingProgress& p) {
  nlohmann::ordered_json line{{"step", p.step}, {"loss", p.loss}};
  for (const auto& [name, value] : p.parts) line[name] = value;
  line.update({{"gradient_rms", p.gradient_rms},
               {"lr", p.lr},
               {"samples_per_second", p.samples_per_second},
               {"seconds", p.seconds}});
  return line;
}

}  // namespace

double TrainingOptions::lr_scale(int64_t step) const {
  if (step < warmup_steps) return static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  if (!cosine_decay) return 1;
  const double progress = static_cast<double>(step - warmup_steps) /
                          static_cast<double>(std::max<int64_t>(1, steps - warmup_steps));
  return 0.5 * (1 + std::cos(std::numbers::pi * std::min(progress, 1.0)));
}

TrainingEnd train(TrainingTask& task, const TrainingOptions& options,
                  const TrainingCallbacks& callbacks) {
  require(options.steps >= 1 && options.log_every >= 1 && options.checkpoint_every >= 1,
          "steps {}, log_every {} and checkpoint_every {} must be at least 1", options.steps,
          options.log_every, options.checkpoint_every);
  TrainingRun run(task, options);
  require(
      std::filesystem::exists(run.checkpoint_path()) || !std::filesystem::exists(run.model_path()),
      "{} holds a model without the checkpoint to go on from, and would lose it: choose another "
      "--out, where --init {} starts from its weights",
      options.out.string(), run.model_path().string());
  if (options.resume) {
    if (!run.restore(callbacks.message))
      callbacks.message(
          fmt::format("nothing to resume in {}: starting at step 0", options.out.string()));
    run.trim_log();
  } else {
    require(!std::filesystem::exists(run.checkpoint_path()),
            "{} already holds a run: add --resume to continue it, or choose another --out",
            options.out.string());
    std::filesystem::remove(run.log_path());
  }
  callbacks.begin();
  io::JsonlWriter log(run.log_path(), io::JsonlWriter::Mode::resume);

  Adamw& optimiser = run.optimiser();
  const auto start = Clock::now();
  auto window_start = start;
  TrainingStep training_step(task, options, optimiser);
  LossWindow window(optimiser, task, options);
  TrainingProgress last;
  int64_t saved_at = optimiser.steps();
  const int64_t first_step = optimiser.steps();
  TrainingEnd end = TrainingEnd::finished;
  while (optimiser.steps() < options.steps) {
    const int64_t step = optimiser.steps();
    training_step.run(step, task.batch(step), options.lr_scale(step));
    window.add(training_step.outcome());

    const int64_t done = optimiser.steps();
    if (done % options.log_every == 0 || done == options.steps) {
      window.read();
      const double window_seconds = seconds_since(window_start), elapsed = seconds_since(start);
      TrainingProgress p{.step = done, .steps = options.steps};
      p.loss = window.loss();
      for (size_t i = 0; i < task.parts.size(); ++i)
        p.parts.emplace_back(task.parts[i], window.part(i));
      p.gradient_rms = window.gradient_rms();
      p.lr = options.adamw.lr * options.lr_scale(step);
      p.samples_per_second = static_cast<double>(window.steps() * options.batch) / window_seconds;
      p.seconds = run.seconds() + elapsed;
      p.eta_seconds = elapsed / static_cast<double>(done - first_step) *
                      static_cast<double>(options.steps - done);
      if (options.minutes > 0)
        p.eta_seconds = std::min(p.eta_seconds, options.minutes * 60 - elapsed);
      log.write(log_line(p));
      callbacks.progress(p);
      last = std::move(p);
      window_start = Clock::now();
      window.clear();
    }
    if (callbacks.stop()) end = TrainingEnd::stopped;
    if (options.minutes > 0 && seconds_since(start) > options.minutes * 60)
      end = TrainingEnd::out_of_time;
    if (done % options.checkpoint_every == 0) {
      window.read();
      run.save(seconds_since(start), last);
      saved_at = done;
    }
    if (end != TrainingEnd::finished) break;
  }
  window.read();
  if (saved_at != optimiser.steps() || first_step == optimiser.steps())
    run.save(seconds_since(start), last);
  return end;
}

}  // namespace diffscm
