#include "causal/mechanisms/fit_network.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <numbers>
#include <string>

#include "autograd/adamw.h"
#include "engine/io/file.h"
#include "engine/io/safetensors.h"
#include "kernels/error.h"
#include "models/checkpoint.h"
#include "training/epoch_order.h"

namespace diffscm::causal {
namespace {

constexpr int64_t kFewRows = 50, kLooks = 40, kRowsAtOnce = 4096;
constexpr const char* kFormat = "diffscm.network-fit.v1";
constexpr std::chrono::seconds kBetweenWrites{5};

std::vector<float> inputs_of(const Mlp& network, const NetworkTask& task,
                             std::span<const int64_t> rows, int64_t step) {
  std::vector<float> inputs(rows.size() * static_cast<size_t>(network.config().inputs));
  task.inputs(rows, step, inputs);
  return inputs;
}

double mean_loss(const Mlp& network, const NetworkTask& task, std::span<const int64_t> rows) {
  double sum = 0;
  for (size_t begin = 0; begin < rows.size(); begin += kRowsAtOnce) {
    const auto some = rows.subspan(begin, std::min<size_t>(kRowsAtOnce, rows.size() - begin));
    const int64_t step = NetworkTask::kHeldOutStep;
    sum += task.loss(some, step, evaluate(network, inputs_of(network, task, some, step)), {});
  }
  return sum / static_cast<double>(rows.size());
}

// The weights that were best so far, and all that the next step depends on.
struct FitState {
  Adamw& optimiser;
  NetworkFit best{};
  Tensor best_weights{};

  std::map<std::string, Tensor> arenas() {
    return {{"values", optimiser.values()},
            {"m", optimiser.m()},
            {"v", optimiser.v()},
            {"ema", optimiser.ema()},
            {"best", best_weights}};
  }

  void write(const std::filesystem::path& file, int64_t steps) {
    std::filesystem::create_directories(file.parent_path());
    const nlohmann::json state = {{"step", optimiser.steps()},
                                  {"steps", steps},
                                  {"best_loss", best.loss},
                                  {"best_step", best.kept_step}};
    io::write_safetensors(file, {arenas(), {{"format", kFormat}, {"state", state.dump()}}});
  }

  void read(const std::filesystem::path& path, int64_t steps) {
    io::Safetensors file = io::read_safetensors(path);
    const auto state = nlohmann::json::parse(file.metadata["state"], nullptr, false);
    const auto whole = [&](const char* key) {
      return state.is_object() && state.contains(key) && state[key].is_number_unsigned();
    };
    const bool ours = file.metadata["format"] == kFormat && whole("step") && whole("steps") &&
                      whole("best_step") && state.contains("best_loss") &&
                      state["best_loss"].is_number() && state["steps"] == steps &&
                      state["step"] <= steps;
    require(ours, "{} is no checkpoint of this fit: remove it to begin again", io::show(path));
    best_weights = optimiser.values().clone();
    for (auto& [name, tensor] : arenas()) {
      const auto found = file.tensors.find(name);
      require(found != file.tensors.end() && found->second.shape() == tensor.shape(),
              "{}: the tensor {} is missing or of another size: remove the file to begin again",
              io::show(path), name);
      tensor.copy_from(found->second);
    }
    optimiser.set_steps(state["step"]);
    best = {state["best_loss"], state["best_step"]};
  }
};

}  // namespace

void validate(const NetworkFitOptions& o) {
  require(o.steps >= 1 && o.steps <= 100'000'000, "{} steps: give 1 to 100000000", o.steps);
  require(o.batch >= 1 && o.batch <= 1'000'000, "a batch of {}: give 1 to 1000000", o.batch);
  require(std::isfinite(o.lr) && o.lr > 0, "a learning rate of {}: give more than 0", o.lr);
  require(o.held_out >= 0 && o.held_out < 1, "a held-out share of {}: give 0 to less than 1",
          o.held_out);
}

NetworkFit fit_network(Mlp& network, const NetworkTask& task, const NetworkFitOptions& options,
                       const NetworkProgress& progress, const NetworkCheckpoint& checkpoint) {
  validate(options);
  require(task.rows >= 1, "a fit to no rows: the table is empty");
  std::vector<int64_t> rows = permutation(task.rows, {options.seed, kernels::Purpose::split, 0}, 0);
  const auto held = task.rows < kFewRows
                        ? 0
                        : static_cast<size_t>(options.held_out * static_cast<double>(task.rows));
  const std::vector<int64_t> held_out(rows.end() - static_cast<ptrdiff_t>(held), rows.end());
  rows.resize(rows.size() - held);
  const std::span<const int64_t> judged = held_out.empty() ? rows : held_out;

  Adamw optimiser(variables(network), {.lr = options.lr, .ema_decay = 0.999});
  const EpochOrder order(std::ssize(rows), options.seed);
  const int64_t batch = std::min<int64_t>(options.batch, std::ssize(rows));
  const int64_t look_every = std::max<int64_t>(1, options.steps / kLooks);
  std::vector<int64_t> chosen(static_cast<size_t>(batch));
  std::vector<float> gradient(chosen.size() * static_cast<size_t>(network.config().outputs));
  FitState state{optimiser};
  if (!checkpoint.file.empty() && std::filesystem::exists(checkpoint.file))
    state.read(checkpoint.file, options.steps);
  using Clock = std::chrono::steady_clock;
  auto written = Clock::now();
  double since_look = 0;
  int64_t steps_since_look = 0;
  for (int64_t step = optimiser.steps(); step < options.steps; ++step) {
    for (int64_t i = 0; i < batch; ++i)
      chosen[static_cast<size_t>(i)] = rows[static_cast<size_t>(order.at(step * batch + i))];
    const std::vector<float> inputs = inputs_of(network, task, chosen, step);
    const Variable outputs =
        network.forward(Tensor::from(inputs, {batch, network.config().inputs}));
    const float* y = outputs.value().data();
    const double loss = task.loss(chosen, step, {y, gradient.size()}, gradient);
    require(std::isfinite(loss),
            "the loss is {} at step {}: try a smaller learning rate, or look for outliers", loss,
            step);
    for (float& g : gradient) g /= static_cast<float>(batch);
    backward(outputs, Tensor::from(gradient, outputs.shape()));
    const double done = static_cast<double>(step) / static_cast<double>(options.steps);
    optimiser.step(0.5 + 0.5 * std::cos(std::numbers::pi * done));
    since_look += loss / static_cast<double>(batch);
    ++steps_since_look;

    if ((step + 1) % look_every != 0 && step + 1 != options.steps) continue;
    optimiser.swap_ema();
    const double judgement = mean_loss(network, task, judged);
    if (!state.best_weights || judgement < state.best.loss) {
      state.best = {judgement, step + 1};
      state.best_weights = optimiser.values().clone();
    }
    optimiser.swap_ema();
    const bool due = step + 1 == options.steps || Clock::now() - written > kBetweenWrites ||
                     (checkpoint.stop && checkpoint.stop());
    if (due && !checkpoint.file.empty()) {
      state.write(checkpoint.file, options.steps);
      written = Clock::now();
    }
    if (progress)
      progress(step + 1, options.steps, since_look / static_cast<double>(steps_since_look));
    since_look = 0;
    steps_since_look = 0;
  }
  optimiser.values().copy_from(state.best_weights);
  // The arena goes with the optimiser's other memory: each parameter gets its own again, and wants
  // no gradient any more.
  network.visit(
      [](const std::string&, Parameter& p) { p.variable = Variable(p.variable.value().clone()); });
  return state.best;
}

namespace {

Tensor rows_of(const Mlp& network, std::span<const float> inputs) {
  const int64_t width = network.config().inputs;
  require(std::ssize(inputs) % width == 0, "{} inputs do not fill rows of {}", inputs.size(),
          width);
  return Tensor::from(inputs, {std::ssize(inputs) / width, width});
}

}  // namespace

std::vector<float> evaluate(const Mlp& network, std::span<const float> inputs) {
  const NoGrad no_grad;
  if (inputs.empty()) return {};
  return network.forward(rows_of(network, inputs)).value().to_vector();
}

OutputsAndGradient evaluate_with_gradient(
    const Mlp& network, std::span<const float> inputs,
    const std::function<void(std::span<const float>, std::span<float>)>& weigh) {
  if (inputs.empty()) return {};
  const Variable x = Variable::leaf(rows_of(network, inputs));
  const Variable outputs = network.forward(x);
  OutputsAndGradient both{outputs.value().to_vector(), {}};
  std::vector<float> weights(both.outputs.size());
  weigh(both.outputs, weights);
  backward(outputs, Tensor::from(weights, outputs.shape()));
  both.gradient = x.gradient().to_vector();
  return both;
}

}  // namespace diffscm::causal
