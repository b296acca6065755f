// p(state | parents) by a softmax network.
#pragma once

#include "causal/mechanisms/parent_network.h"

namespace diffscm::causal {

// Parameters, besides the network's: counterfactual = "gumbel-max" | "inverse-cdf", as for a table
// (causal/mechanisms/table.h).
class CategoricalNetwork : public Mechanism {
 public:
  explicit CategoricalNetwork(const Role& role);

  Abduction abduction() const override { return Abduction::posterior; }
  Values abduct(const Values& value, Parents parents, const RowRandom& random) const override;
  Values predict(const Values& noise, Parents parents) const override;
  Values draw_noise(const RowRandom& random) const override;
  bool has_log_density() const override { return true; }
  std::vector<double> log_density(const Values& value, Parents parents) const override;
  Coupling coupling() const override {
    return gumbel_ ? Coupling::gumbel_max : Coupling::inverse_cdf;
  }
  void fit(const Values& value, Parents parents, const FitOptions& options) override;
  bool is_fitted() const override { return network_.is_fitted(); }
  MechanismState state() const override;
  void load(const MechanismState& state) override;
  std::string description() const override;

  // [rows, states]. None is 0: the least is 1e-12.
  std::vector<double> probabilities(Parents parents, int64_t rows) const;

 private:
  CategoricalNetwork(const Role& role, Parameters parameters);

  size_t states_;
  bool gumbel_;
  ParentNetwork network_;
};

// The loss of logits and a state: -log softmax(logits)[state] and its gradient, where `gradient` is
// not empty.
double cross_entropy(size_t state, std::span<const float> logits, std::span<float> gradient);

std::unique_ptr<Mechanism> make_categorical_network(const Role& role);

}  // namespace diffscm::causal
