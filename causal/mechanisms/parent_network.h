// An MLP that is told the parents of a node: what the mechanisms that learn have in common.
#pragma once

#include <string>
#include <vector>

#include "causal/mechanisms/features.h"
#include "causal/mechanisms/fit_network.h"
#include "causal/mechanisms/parameters.h"

namespace diffscm::causal {

struct NetworkSettings {
  std::vector<int64_t> hidden{64, 64};
  NetworkFitOptions fit;
};
// Parameters of every mechanism with networks; what is not given is as in `settings`:
//   hidden = [64, 64]   units of the hidden layers
//   steps = 3000, batch = 256, lr = 0.003, held_out = 0.1    causal/mechanisms/fit_network.h
NetworkSettings network_settings(Parameters& parameters, NetworkSettings settings = {});

// Inputs: a constant 1, `own` numbers that the mechanism fills in itself, the parents' features.
class ParentNetwork {
 public:
  ParentNetwork(std::span<const Node> parents, int64_t own, int64_t outputs,
                NetworkSettings settings);

  bool is_fitted() const { return fitted_; }
  const Mlp& mlp() const { return mlp_; }
  int64_t outputs() const { return mlp_.config().outputs; }
  int64_t width() const { return mlp_.config().inputs; }
  // Fills the own inputs [rows, own] of `rows` at `step`, as in NetworkTask.
  using OwnInputs =
      std::function<void(std::span<const int64_t> rows, int64_t step, std::span<float> own)>;
  // `what` is said with the progress. Throws Error as fit_network does.
  NetworkFit fit(Parents parents, int64_t rows, const OwnInputs& own,
                 decltype(NetworkTask::loss) loss, const FitOptions& options,
                 const std::string& what);

  // [rows, width], the own inputs 0. Throws Error when it is not fitted.
  std::vector<float> inputs(Parents parents, int64_t rows) const;
  // Writes own input i of each row.
  void set_own(std::span<float> inputs, int64_t i, std::span<const double> values) const;
  // [rows, outputs], for a network without own inputs.
  std::vector<float> operator()(Parents parents, int64_t rows) const;

  // Under "PREFIX.": the network's tensors, and the features among the values.
  void save(MechanismState& state, const std::string& prefix) const;
  // Takes its part out of `state`. Throws Error naming what is missing or of another shape.
  void load(MechanismState& state, const std::string& prefix);

 private:
  std::vector<float> features_of(Parents parents, int64_t rows) const;

  Features features_;
  int64_t own_;
  NetworkSettings settings_;
  mutable Mlp mlp_;  // visit() is not const
  bool fitted_ = false;
};

// Throws Error naming what load() has not taken.
void require_empty(const MechanismState& state);

}  // namespace diffscm::causal
