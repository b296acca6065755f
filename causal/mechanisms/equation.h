// A structural equation that is given, not learned.
#pragma once

#include <algorithm>

#include "causal/expression.h"
#include "causal/mechanism.h"
#include "causal/mechanisms/distribution.h"

namespace diffscm::causal {

// Parameters:
//   value = "(exp(x1 / 2) + u / 4) / 0.65"   of the parents (a category is its state's index) and
//     noises, as arithmetic (causal/expression.h); of a discrete node the state's index
//   noise = {u = "normal(0, 1)"}             each noise and its distribution
//     (causal/mechanisms/distribution.h); none: the node is a function of its parents
//   invertible = true | false                whether a value has one noise only. Left out: tried
//
// Abduction of a continuous node is exact when it has one noise and is linear or monotone in it,
// whatever the parents: the equation is solved, by bisection where it is not linear. Where nothing
// is said that is tried, for 200 draws of standard normal parents and states; a row where it does
// not hold all the same is refused. Of a discrete node the noise is drawn until it makes the state:
// an exact draw from the posterior, refused after a million draws. Without noise, a value other
// than the equation's has probability zero. predict() throws Error for a value beyond the node's
// range by more than rounding.
class EquationMechanism : public Mechanism {
 public:
  explicit EquationMechanism(const Role& role);

  Abduction abduction() const override { return abduction_; }
  Values abduct(const Values& value, Parents parents, const RowRandom& random) const override;
  Values predict(const Values& noise, Parents parents) const override;
  Values draw_noise(const RowRandom& random) const override;
  bool has_log_density() const override;
  std::vector<double> log_density(const Values& value, Parents parents) const override;
  void fit(const Values&, Parents, const FitOptions&) override {}
  bool is_fitted() const override { return true; }
  MechanismState state() const override { return {}; }
  void load(const MechanismState& state) override;
  std::string description() const override;

 private:
  struct Noise {
    std::string name;
    Distribution distribution;
  };
  // The equation of one row, as a function of its noises.
  struct Row {
    const EquationMechanism& mechanism;
    std::vector<double> arguments;  // parents, then noises
    double at(double noise);
    void set_noise(std::span<const double> noise);
    double value() const { return mechanism.value_(arguments); }
  };

  // Without noise a zero stands in its place.
  size_t width_of_noise() const { return std::max<size_t>(1, noises_.size()); }
  Row row(Parents parents, size_t at) const;
  void set_parents(Row& row, Parents parents, size_t at) const;
  void draw(RandomStream& random, std::span<double> noise) const;
  Abduction tried() const;
  bool is_monotone(Row& row, bool& flat) const;
  // How far the value rises, or falls, over the middle half of the noise: the scale it has.
  double spread(Row& row) const;
  // The noise that makes the value; none where no noise does.
  std::optional<double> solve(Row& row, double value) const;
  // The value as one of the node's: throws Error for a NaN, and for what is no state.
  double checked(double value) const;

  Role role_;
  std::vector<Noise> noises_;
  Expression value_;
  Abduction abduction_;
};

std::unique_ptr<Mechanism> make_equation(const Role& role);

}  // namespace diffscm::causal
