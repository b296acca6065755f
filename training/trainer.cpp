#include "training/trainer.h"

#include <fmt/ranges.h>

#include <array>
#include <chrono>
#include <cmath>
#include <fstream>
#include <numbers>
#include <optional>

#include "engine/captured_step.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/io/jsonl.h"
#include "engine/io/safetensors.h"

namespace diffscm {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double lr_scale(const TrainingOptions& o, int64_t step) {
  if (step < o.warmup_steps)
    return static_cast<double>(step + 1) / static_cast<double>(o.warmup_steps);
  if (!o.cosine_decay) return 1;
  const double progress = static_cast<double>(step - o.warmup_steps) /
                          static_cast<double>(std::max<int64_t>(1, o.steps - o.warmup_steps));
  return 0.5 * (1 + std::cos(std::numbers::pi * std::min(progress, 1.0)));
}

// Everything else that changes the weights; the same for a resumed run, or it is refused. More
// `steps` are allowed: a trained model may be trained on.
nlohmann::json fingerprint(const TrainingTask& task, const TrainingOptions& o) {
  nlohmann::json f = {{"kind", task.info.kind},
                      {"config", task.info.config},
                      {"diffusion", task.info.diffusion},
                      {"data", task.info.data},
                      {"batch", o.batch},
                      {"seed", o.seed},
                      {"steps", o.steps},
                      {"lr", o.adamw.lr},
                      {"beta1", o.adamw.beta1},
                      {"beta2", o.adamw.beta2},
                      {"eps", o.adamw.eps},
                      {"weight_decay", o.adamw.weight_decay},
                      {"ema_decay", o.adamw.ema_decay},
                      {"warmup_steps", o.warmup_steps},
                      {"cosine_decay", o.cosine_decay}};
  f.update(task.settings);
  return f;
}

// One run's files.
class Run {
 public:
  Run(TrainingTask& task, const TrainingOptions& options)
      : task_(task), options_(options), optimiser_(collect(task), options.adamw) {
    std::filesystem::create_directories(options.out);
  }

  Adamw& optimiser() { return optimiser_; }
  double seconds() const { return earlier_seconds_; }

  // Restores the last checkpoint and says so. False: there is none.
  bool restore(const std::function<void(const std::string&)>& say) {
    const auto path = checkpoint_path();
    if (!std::filesystem::exists(path)) return false;
    io::Safetensors file = io::read_safetensors(path);
    const auto stored = io::parse_json(file.metadata["fingerprint"]);
    const auto state = io::parse_json(file.metadata["state"]);
    require(stored.is_object() && stored.contains("steps") &&
                stored["steps"].is_number_unsigned() && state.is_object() &&
                state.contains("step") && state["step"].is_number_unsigned() &&
                state.contains("seconds") && state["seconds"].is_number(),
            "{} is not a training checkpoint", path.string());
    check_settings(stored, say);
    const int64_t step = state["step"], steps_before = stored["steps"];
    require(step <= steps_before, "{}: step {} of {} makes no sense", path.string(), step,
            steps_before);
    for (const auto& [name, tensor] : arenas()) {
      const auto found = file.tensors.find(name);
      require(found != file.tensors.end() && found->second.shape() == tensor->shape(),
              "{}: tensor '{}' is missing or of another size", path.string(), name);
      tensor->copy_from(found->second.to(tensor->target()));
    }
    optimiser_.set_steps(step);
    earlier_seconds_ = state["seconds"];
    say(fmt::format("resuming {} at step {}", options_.out.string(), step));
    const std::string device = state.value("device", ""), now = device_name();
    if (!device.empty() && device != now)
      say(
          fmt::format("it was trained on {} and goes on on {}: equal up to rounding, not bit for "
                      "bit",
                      device, now));
    if (options_.steps > steps_before) say(trained_on(step, steps_before));
    return true;
  }

  void save(double session_seconds, const TrainingProgress& last) {
    const double seconds = earlier_seconds_ + session_seconds;
    io::Safetensors file;
    for (const auto& [name, tensor] : arenas()) file.tensors.emplace(name, *tensor);
    file.metadata["fingerprint"] = io::dump(fingerprint(task_, options_));
    file.metadata["state"] = nlohmann::json{
        {"step", optimiser_.steps()},
        {"seconds", seconds},
        {"device",
         device_name()}}.dump();
    io::write_safetensors(checkpoint_path(), file);

    ModelInfo info = task_.info;
    info.training["steps"] = optimiser_.steps();
    info.training["samples_seen"] = optimiser_.steps() * options_.batch;
    info.training["seconds"] = std::round(seconds);
    info.training["loss"] = last.loss;
    for (const auto& [name, value] : last.parts) info.training[name] = value;
    info.training["seed"] = options_.seed;
    info.training["weights"] =
        options_.adamw.ema_decay > 0 ? "exponential moving average" : "of the last step";
    optimiser_.swap_ema();
    NamedTensors state;
    for (const auto& [name, p] : task_.parameters)
      state.emplace(name, to_file_layout(p->variable.value(), p->layout));
    optimiser_.swap_ema();
    write_model(options_.out / "model.safetensors", info, state);
  }

  // Lines of steps that the restored checkpoint has not seen would appear twice.
  void trim_log() {
    const auto path = log_path();
    if (!std::filesystem::exists(path)) return;
    std::ifstream in(path);
    std::string kept, line;
    while (std::getline(in, line)) {
      const auto json = io::parse_json(line);
      if (json.is_object() && json.contains("step") && json["step"] <= optimiser_.steps())
        kept += line + "\n";
    }
    io::atomic_write(path, kept);
  }

  std::filesystem::path log_path() const { return options_.out / "log.jsonl"; }
  std::filesystem::path checkpoint_path() const { return options_.out / "checkpoint.safetensors"; }

 private:
  std::string device_name() const { return name_of(optimiser_.squared_gradient().target()); }

  // Throws Error naming the first setting that differs from those of the checkpoint; earlier
  // versions stored fewer.
  void check_settings(const nlohmann::json& stored,
                      const std::function<void(const std::string&)>& say) const {
    std::vector<std::string> unknown;
    check_same("", stored, fingerprint(task_, options_), unknown);
    if (!unknown.empty())
      say(fmt::format("{} does not say its {}: taken to be the same as now",
                      checkpoint_path().string(), fmt::join(unknown, ", ")));
  }

  void check_same(const std::string& name, const nlohmann::json& before, const nlohmann::json& now,
                  std::vector<std::string>& unknown) const {
    const std::string prefix = name.empty() ? "" : name + ".";
    if (before.is_object() && now.is_object()) {
      for (const auto& [key, value] : now.items())
        if (before.contains(key))
          check_same(prefix + key, before[key], value, unknown);
        else
          unknown.push_back(prefix + key);
      for (const auto& [key, value] : before.items())
        require(now.contains(key), "cannot resume {}: it was trained with {}{} = {}, now with none",
                options_.out.string(), prefix, key, io::dump(value));
      return;
    }
    const bool may_grow = name == "steps";
    require(before == now || (may_grow && before < now),
            "cannot resume {}: it was trained with {} = {}, now it is {}{}", options_.out.string(),
            name, io::dump(before), io::dump(now), may_grow ? "; only more are possible" : "");
  }

  // What more steps than planned mean for the schedule.
  std::string trained_on(int64_t step, int64_t steps_before) const {
    std::string text = fmt::format("planned for {} steps, now {}", steps_before, options_.steps);
    if (!options_.cosine_decay) return text;
    TrainingOptions before = options_;
    before.steps = steps_before;
    return text + fmt::format(
                      ": the cosine schedule is stretched, the learning rate at step {} is {:.3g} "
                      "instead of {:.3g}",
                      step, options_.adamw.lr * lr_scale(options_, step),
                      options_.adamw.lr * lr_scale(before, step));
  }

  static std::vector<Variable*> collect(TrainingTask& task) {
    std::vector<Variable*> all;
    for (const auto& [name, p] : task.parameters) all.push_back(&p->variable);
    return all;
  }
  std::vector<std::pair<std::string, Tensor*>> arenas() {
    return {{"values", &optimiser_.values()},
            {"adam.m", &optimiser_.m()},
            {"adam.v", &optimiser_.v()},
            {"ema", &optimiser_.ema()}};
  }

  TrainingTask& task_;
  const TrainingOptions& options_;
  Adamw optimiser_;
  double earlier_seconds_ = 0;
};

// Of one step: the loss of each sample, its parts likewise, then the sum of the gradient's squares.
int64_t outcome_size(const TrainingTask& task, const TrainingOptions& options) {
  return (1 + std::ssize(task.parts)) * options.batch + 1;
}

// Forward, backward and update as one recorded step, its inputs always in the same memory.
class TrainingStep {
 public:
  TrainingStep(const TrainingTask& task, const TrainingOptions& options, Adamw& optimiser)
      : task_(task),
        options_(options),
        optimiser_(optimiser),
        number_({1}, optimiser.values().target(), Dtype::u32),
        outcome_({outcome_size(task, options)}, optimiser.values().target()),
        step_(outcome_.target(), [this] { body(); }) {}

  void run(int64_t number, TrainingBatch batch, double lr_scale) {
    number_.copy_from(Tensor::from(std::array{static_cast<uint32_t>(number)}, {1}));
    if (inputs_.empty()) {
      inputs_ = std::move(batch);
    } else {
      require(batch.size() == inputs_.size(), "a batch of {} tensors after one of {}", batch.size(),
              inputs_.size());
      for (size_t i = 0; i < batch.size(); ++i) inputs_[i].copy_from(batch[i]);
    }
    optimiser_.begin_step(lr_scale);
    step_.run();
  }
  const Tensor& outcome() const { return outcome_; }  // of the last step

 private:
  void body() {
    const int64_t n = options_.batch, part = options_.at_a_time();
    for (int64_t first = 0; first < n; first += part)
      gather_gradients(first, std::min(n, first + part));
    optimiser_.apply_gradients();
    const int64_t last = outcome_.numel() - 1;
    outcome_.slice(last, last + 1).copy_from(optimiser_.squared_gradient());
  }

  // Of images [first, last) of the batch.
  void gather_gradients(int64_t first, int64_t last) {
    const bool whole = last - first == options_.batch;
    TrainingBatch part;
    for (const Tensor& input : inputs_) {
      require(whole || (input.rank() > 0 && input.dim(0) == options_.batch),
              "micro_batch {}: this training's batches cannot be cut", options_.micro_batch);
      part.push_back(whole ? input : input.slice(first, last));
    }
    ForwardContext context;
    context.training = true;
    context.seed = options_.seed;
    context.step_at = number_.data<uint32_t>();
    context.first_image = first;
    context.recompute = options_.recompute;
    const auto [loss, parts] = task_.loss(part, context);
    require(parts.size() == task_.parts.size(), "the loss has {} parts for {} names", parts.size(),
            task_.parts.size());
    tell(0, first, last, loss.value());
    for (size_t i = 0; i < parts.size(); ++i)
      tell(static_cast<int64_t>(i) + 1, first, last, parts[i]);
    backward(loss, Tensor::constant(loss.shape(), 1 / static_cast<float>(options_.batch),
                                    loss.value().target()));
  }

  // The `row`-th value of images [first, last) of the batch.
  void tell(int64_t row, int64_t first, int64_t last, const Tensor& values) {
    require(values.numel() == last - first, "the loss has {} values for {} images", values.numel(),
            last - first);
    const int64_t at = row * options_.batch;
    outcome_.slice(at + first, at + last).copy_from(values);
  }

  const TrainingTask& task_;
  const TrainingOptions& options_;
  Adamw& optimiser_;
  TrainingBatch inputs_;
  Tensor number_, outcome_;
  CapturedStep step_;
};

// The steps since the last log line. Their outcomes stay in the target's memory until they are
// needed, because reading one waits for the step.
class Window {
 public:
  Window(const Adamw& optimiser, const TrainingTask& task, const TrainingOptions& options)
      : optimiser_(optimiser), options_(options), sums_(1 + task.parts.size()) {
    const Target target = optimiser.squared_gradient().target();
    unread_ = Tensor({records_steps(target) ? 64 : 1, outcome_size(task, options)}, target);
  }

  void add(const Tensor& outcome) {
    Tensor row = unread_.slice(count_, count_ + 1);
    row.copy_from(outcome.reshape(row.shape()));
    if (++count_ == unread_.dim(0)) read();
  }
  // Throws Error when a loss is not finite.
  void read() {
    const int64_t count = std::exchange(count_, 0), n = options_.batch;
    if (count == 0) return;
    const std::vector<float> values = unread_.slice(0, count).to_vector();
    for (int64_t k = 0; k < count; ++k) {
      const float* outcome = values.data() + k * unread_.dim(1);
      for (size_t i = 0; i < sums_.size(); ++i, outcome += n) {
        double mean = 0;
        for (int64_t sample = 0; sample < n; ++sample)
          mean += outcome[sample] / static_cast<double>(n);
        require(i > 0 || std::isfinite(mean),
                "the loss is {} at step {}: lower the learning rate, now {}", mean,
                optimiser_.steps() - count + k, options_.adamw.lr);
        sums_[i] += mean;
      }
      gradient_ += optimiser_.gradient_rms(*outcome);
      ++steps_;
    }
  }
  int64_t steps() const { return steps_; }
  // Means over the steps that have been read.
  double loss() const { return sums_[0] / static_cast<double>(steps_); }
  double part(size_t i) const { return sums_[1 + i] / static_cast<double>(steps_); }
  double gradient_rms() const { return gradient_ / static_cast<double>(steps_); }
  void clear() {
    std::ranges::fill(sums_, 0);
    gradient_ = 0;
    steps_ = 0;
  }

 private:
  const Adamw& optimiser_;
  const TrainingOptions& options_;
  Tensor unread_;             // [rows, outcome_size]
  int64_t count_ = 0;         // of its rows
  std::vector<double> sums_;  // of the loss, and of its parts, over steps_
  double gradient_ = 0;       // likewise
  int64_t steps_ = 0;
};

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

TrainingEnd train(TrainingTask& task, const TrainingOptions& options,
                  const TrainingCallbacks& callbacks) {
  require(options.steps >= 1 && options.log_every >= 1 && options.checkpoint_every >= 1,
          "steps {}, log_every {} and checkpoint_every {} must be at least 1", options.steps,
          options.log_every, options.checkpoint_every);
  Run run(task, options);
  const std::filesystem::path model = options.out / "model.safetensors";
  require(
      std::filesystem::exists(run.checkpoint_path()) || !std::filesystem::exists(model),
      "{} holds a model without the checkpoint to go on from, and would lose it: choose another "
      "--out, where --init {} starts from its weights",
      options.out.string(), model.string());
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
  Window window(optimiser, task, options);
  TrainingProgress last;
  int64_t saved_at = optimiser.steps();
  const int64_t first_step = optimiser.steps();
  TrainingEnd end = TrainingEnd::finished;
  while (optimiser.steps() < options.steps) {
    const int64_t step = optimiser.steps();
    training_step.run(step, task.batch(step), lr_scale(options, step));
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
      p.lr = options.adamw.lr * lr_scale(options, step);
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
