#include "training/training_run.h"

#include <fmt/ranges.h>

#include <cmath>
#include <fstream>

#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/io/safetensors.h"

namespace diffscm {
namespace {

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

std::vector<Variable*> collect(TrainingTask& task) {
  std::vector<Variable*> all;
  for (const auto& [name, p] : task.parameters) all.push_back(&p->variable);
  return all;
}

}  // namespace

TrainingRun::TrainingRun(TrainingTask& task, const TrainingOptions& options)
    : task_(task), options_(options), optimiser_(collect(task), options.adamw) {
  std::filesystem::create_directories(options.out);
}

bool TrainingRun::restore(const Say& say) {
  const auto path = checkpoint_path();
  if (!std::filesystem::exists(path)) return false;
  io::Safetensors file = io::read_safetensors(path);
  const auto stored = io::parse_json(file.metadata["fingerprint"]);
  const auto state = io::parse_json(file.metadata["state"]);
  require(stored.is_object() && stored.contains("steps") && stored["steps"].is_number_unsigned() &&
              state.is_object() && state.contains("step") && state["step"].is_number_unsigned() &&
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

void TrainingRun::trim_log() const {
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

void TrainingRun::save(double session_seconds, const TrainingProgress& last) {
  const double seconds = earlier_seconds_ + session_seconds;
  io::Safetensors file;
  for (const auto& [name, tensor] : arenas()) file.tensors.emplace(name, *tensor);
  file.metadata["fingerprint"] = io::dump(fingerprint(task_, options_));
  file.metadata["state"] =
      nlohmann::json{{"step", optimiser_.steps()}, {"seconds", seconds}, {"device", device_name()}}
          .dump();
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
  write_model(model_path(), info, state);
}

// Throws Error naming the first setting that differs from those of the checkpoint; earlier
// versions stored fewer.
void TrainingRun::check_settings(const nlohmann::json& stored, const Say& say) const {
  std::vector<std::string> unknown;
  check_same("", stored, fingerprint(task_, options_), unknown);
  if (!unknown.empty())
    say(fmt::format("{} does not say its {}: taken to be the same as now",
                    checkpoint_path().string(), fmt::join(unknown, ", ")));
}

void TrainingRun::check_same(const std::string& name, const nlohmann::json& before,
                             const nlohmann::json& now, std::vector<std::string>& unknown) const {
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
std::string TrainingRun::trained_on(int64_t step, int64_t steps_before) const {
  std::string text = fmt::format("planned for {} steps, now {}", steps_before, options_.steps);
  if (!options_.cosine_decay) return text;
  TrainingOptions before = options_;
  before.steps = steps_before;
  return text + fmt::format(
                    ": the cosine schedule is stretched, the learning rate at step {} is {:.3g} "
                    "instead of {:.3g}",
                    step, options_.adamw.lr * options_.lr_scale(step),
                    options_.adamw.lr * before.lr_scale(step));
}

std::vector<std::pair<std::string, Tensor*>> TrainingRun::arenas() {
  return {{"values", &optimiser_.values()},
          {"adam.m", &optimiser_.m()},
          {"adam.v", &optimiser_.v()},
          {"ema", &optimiser_.ema()}};
}

}  // namespace diffscm
