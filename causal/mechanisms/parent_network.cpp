#include "causal/mechanisms/parent_network.h"

#include <algorithm>

#include "models/checkpoint.h"

namespace diffscm::causal {

NetworkSettings network_settings(Parameters& parameters, NetworkSettings s) {
  s.hidden = parameters.get("hidden", s.hidden);
  require(!s.hidden.empty() && s.hidden.size() <= 8, "hidden has {} layers: give 1 to 8",
          s.hidden.size());
  for (const int64_t units : s.hidden)
    require(units >= 1 && units <= 4096, "hidden has a layer of {}: give 1 to 4096", units);
  s.fit.steps = parameters.get("steps", s.fit.steps);
  s.fit.batch = parameters.get("batch", s.fit.batch);
  s.fit.lr = parameters.get("lr", s.fit.lr);
  s.fit.held_out = parameters.get("held_out", s.fit.held_out);
  validate(s.fit);
  return s;
}

ParentNetwork::ParentNetwork(std::span<const Node> parents, int64_t own, int64_t outputs,
                             NetworkSettings settings)
    : features_(parents),
      own_(own),
      settings_(std::move(settings)),
      mlp_({1 + own + features_.size(), outputs, settings_.hidden}, 0) {}

NetworkFit ParentNetwork::fit(Parents parents, int64_t rows, const OwnInputs& own,
                              decltype(NetworkTask::loss) loss, const FitOptions& options,
                              const std::string& what) {
  fitted_ = false;
  features_.fit(parents);
  const std::vector<float> all = features_of(parents, rows);
  mlp_ = Mlp(mlp_.config(), options.seed);
  NetworkTask task{.rows = rows, .inputs = {}, .loss = std::move(loss)};
  task.inputs = [&, from_data = std::vector<float>()](std::span<const int64_t> chosen, int64_t step,
                                                      std::span<float> out) mutable {
    const auto w = static_cast<size_t>(width()), n = static_cast<size_t>(own_);
    from_data.resize(chosen.size() * n);
    if (own) own(chosen, step, from_data);
    for (size_t i = 0; i < chosen.size(); ++i) {
      std::copy_n(all.begin() + chosen[i] * width(), w, out.begin() + i * w);
      std::copy_n(from_data.begin() + i * n, n, out.begin() + i * w + 1);
    }
  };
  NetworkFitOptions fit = settings_.fit;
  fit.seed = options.seed;
  const NetworkFit result = fit_network(
      mlp_, task, fit,
      [&](int64_t done, int64_t steps, double mean_loss) {
        if (options.progress)
          options.progress(static_cast<double>(done), static_cast<double>(steps),
                           fmt::format("{} {:.4f}", what, mean_loss));
      },
      {.file = options.folder.empty() ? options.folder : options.folder / "network.safetensors",
       .stop = options.stop});
  fitted_ = true;
  return result;
}

std::vector<float> ParentNetwork::inputs(Parents parents, int64_t rows) const {
  require(fitted_, "the mechanism is not fitted: run diffscm scm fit");
  return features_of(parents, rows);
}

std::vector<float> ParentNetwork::features_of(Parents parents, int64_t rows) const {
  std::vector<float> all(static_cast<size_t>(rows * width()), 0.0f);
  for (int64_t row = 0; row < rows; ++row) {
    const auto inputs =
        std::span(all).subspan(static_cast<size_t>(row * width()), static_cast<size_t>(width()));
    inputs[0] = 1;
    features_.write(parents, row, inputs.subspan(static_cast<size_t>(1 + own_)));
  }
  return all;
}

void ParentNetwork::set_own(std::span<float> inputs, int64_t i,
                            std::span<const double> values) const {
  for (size_t row = 0; row < values.size(); ++row)
    inputs[row * static_cast<size_t>(width()) + static_cast<size_t>(1 + i)] =
        static_cast<float>(values[row]);
}

std::vector<float> ParentNetwork::operator()(Parents parents, int64_t rows) const {
  return evaluate(mlp_, inputs(parents, rows));
}

void ParentNetwork::save(MechanismState& state, const std::string& prefix) const {
  require(fitted_, "a mechanism that is not fitted has nothing to save");
  for (const auto& [name, tensor] : state_dict(mlp_)) state.tensors[prefix + "." + name] = tensor;
  state.values[prefix] = features_.state();
}

void ParentNetwork::load(MechanismState& state, const std::string& prefix) {
  NamedTensors own;
  for (const auto& [name, parameter] : named_parameters(mlp_)) {
    const auto found = state.tensors.find(prefix + "." + name);
    require(found != state.tensors.end(), "the tensor {}.{} is missing", prefix, name);
    own[name] = found->second;
    state.tensors.erase(found);
  }
  load_state(named_parameters(mlp_), own);
  require(state.values.contains(prefix), "the entry {} is missing", prefix);
  features_.load(state.values[prefix]);
  state.values.erase(prefix);
  fitted_ = true;
}

void require_empty(const MechanismState& state) {
  require(state.tensors.empty(), "the tensor {} is unknown",
          state.tensors.empty() ? "" : io::show(state.tensors.begin()->first));
  require(state.values.empty(), "the entries {} are unknown", io::show(state.values.dump()));
}

}  // namespace diffscm::causal
