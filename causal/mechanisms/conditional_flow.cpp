// x = f(noise; parents) with noise ~ N(0, 1) and f monotone, fitted by maximum likelihood: location
// and scale (conditional affine), or these and a rational-quadratic spline (spline).
#include "causal/mechanisms/regression.h"

namespace diffscm::causal {
namespace {

class ConditionalFlow : public RegressionMechanism {
 public:
  ConditionalFlow(const Role& role, const FlowHead& head, Parameters& parameters)
      : RegressionMechanism(role, head.outputs(), network_settings(parameters)), head_(head) {
    parameters.finish();
  }
  bool has_log_density() const override { return true; }
  std::string description() const override {
    return head_.spline ? "rational-quadratic spline" : "conditional affine";
  }

 protected:
  double to_noise(double z, std::span<const float> outputs) const override {
    return head_.to_noise(z, outputs);
  }
  double to_value(double u, std::span<const float> outputs) const override {
    return head_.to_value(u, outputs);
  }
  double loss(double z, std::span<const float> outputs, std::span<float> gradient) const override {
    return head_.loss(z, outputs, gradient);
  }
  double negative_log_density(double z, std::span<const float> outputs) const override {
    return head_.loss(z, outputs, {});
  }

 private:
  FlowHead head_;
};

}  // namespace

std::unique_ptr<Mechanism> make_conditional_affine(const Role& role) {
  Parameters parameters(role.node.mechanism.parameters);
  return std::make_unique<ConditionalFlow>(role, FlowHead{}, parameters);
}

// Parameters, besides the network's: bins = 8, bound = 4 (in standard deviations of the noise).
std::unique_ptr<Mechanism> make_spline(const Role& role) {
  Parameters parameters(role.node.mechanism.parameters);
  SplineShape shape;
  shape.bins = parameters.get("bins", shape.bins);
  shape.bound = parameters.get("bound", shape.bound);
  validate(shape);
  return std::make_unique<ConditionalFlow>(role, FlowHead{shape}, parameters);
}

}  // namespace diffscm::causal
