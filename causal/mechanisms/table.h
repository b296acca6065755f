// A table of conditional probabilities: p(state | parents' states).
#pragma once

#include <memory>

#include "causal/mechanism.h"

namespace diffscm::causal {

// Parameters:
//   rows = [["senior", "yes", 0.9, 0.1], ..]   per combination of the parents' states, by name and
//     in any order: those states, then p(state | them), which sums to 1 within 1e-6 and is
//     renormalised. Left out: fit() counts
//   pseudocount = 0    added to each count
//   counterfactual = "gumbel-max" | "inverse-cdf"
//
// gumbel-max (default): state = argmax_k (log p_k + g_k), noise g [rows, K] standard Gumbels.
// Abduction draws from their posterior given the state (Maddison, Tarlow & Minka 2014; Oberst &
// Sontag 2019, "Counterfactual off-policy evaluation with Gumbel-max SCMs").
// inverse-cdf: state = the first k with p_0 + .. + p_k > u, noise u in (0, 1) [rows, 1].
// Of binary nodes the two are the same model of counterfactuals.
class TableMechanism : public Mechanism {
 public:
  explicit TableMechanism(const Role& role);

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
  bool is_fitted() const override { return !probabilities_.empty(); }
  MechanismState state() const override;
  void load(const MechanismState& state) override;
  std::string description() const override;

  // [combinations of the parents' states, states], the last parent fastest. Throws Error when it is
  // not fitted.
  const std::vector<double>& probabilities() const;

 private:
  size_t states() const { return role_.node.attribute.states.size(); }
  // Which combination of the parents' states row `row` of a batch has.
  size_t combination(Parents parents, size_t row) const;
  std::span<const double> conditional(Parents parents, size_t row) const;
  std::string name_of_combination(size_t combination) const;
  std::string name_of_row(size_t combination) const;  // "p(. | p=no)"
  std::string name_of_probability(Parents parents, size_t row, size_t state) const;
  void set_rows(const nlohmann::json& rows);

  Role role_;
  size_t combinations_ = 1;
  double pseudocount_ = 0;
  bool gumbel_ = true;
  std::vector<double> probabilities_;
};

std::unique_ptr<Mechanism> make_table(const Role& role);

// Checks that p are probabilities whose sum is 1 within `tolerance`, and makes it 1; a sum that is
// 1 but for rounding is left alone, so that what is written is read back to the bit. Returns by how
// much the sum was off. Throws Error naming `where`.
double normalise(std::span<double> p, const std::string& where, double tolerance = 1e-6);

// The largest of log p_k + g_k, the first of equals.
size_t gumbel_max(std::span<const double> p, std::span<const double> gumbels);
// Gumbels drawn given that the largest is `state`, whose p must not be 0.
void gumbel_posterior(std::span<const double> p, size_t state, RandomStream& random,
                      std::span<double> gumbels);
// The first k with p_0 + .. + p_k > u.
size_t inverse_cdf(std::span<const double> p, double u);
// u drawn given that inverse_cdf(p, u) is `state`, whose p must not be 0.
double inverse_cdf_posterior(std::span<const double> p, size_t state, RandomStream& random);

}  // namespace diffscm::causal
