// Mechanisms of a number whose network, told the parents, gives a monotone function of the noise:
// additive noise, conditional affine, spline.
#pragma once

#include "causal/mechanisms/flow_head.h"
#include "causal/mechanisms/parent_network.h"

namespace diffscm::causal {

// Abduction is exact: the function is inverted in closed form, in double. A value beyond the node's
// range becomes the nearest within it.
class RegressionMechanism : public Mechanism {
 public:
  Abduction abduction() const override { return Abduction::exact; }
  Values abduct(const Values& value, Parents parents, const RowRandom& random) const override;
  Values predict(const Values& noise, Parents parents) const override;
  Values draw_noise(const RowRandom& random) const override;
  std::vector<double> log_density(const Values& value, Parents parents) const override;
  void fit(const Values& value, Parents parents, const FitOptions& options) override;
  bool is_fitted() const override { return network_.is_fitted(); }
  MechanismState state() const override;
  void load(const MechanismState& state) override;

 protected:
  RegressionMechanism(const Role& role, int64_t outputs, NetworkSettings settings);

  // Of the standardised value z; the noise has no unit.
  virtual double to_noise(double z, std::span<const float> outputs) const = 0;
  virtual double to_value(double u, std::span<const float> outputs) const = 0;
  virtual double loss(double z, std::span<const float> outputs,
                      std::span<float> gradient) const = 0;
  // -log p(z), where there is a density.
  virtual double negative_log_density(double z, std::span<const float> outputs) const = 0;
  // What draw_noise() needs besides.
  virtual void fit_noise(std::span<const double>) {}

 private:
  template <class F>
  std::vector<double> per_row(const Values& values, Parents parents, F&& f) const;

  data::Attribute attribute_;
  ParentNetwork network_;
  Standard standard_;
};

// Throws Error unless the node is continuous.
void require_continuous(const Role& role);

std::unique_ptr<Mechanism> make_additive_noise(const Role& role);
std::unique_ptr<Mechanism> make_conditional_affine(const Role& role);
std::unique_ptr<Mechanism> make_spline(const Role& role);

}  // namespace diffscm::causal
