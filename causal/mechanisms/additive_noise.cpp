// x = f(parents) + noise (Hoyer et al. 2009): f by least squares. What the noise is follows from
// the residuals.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "causal/mechanisms/exact_numbers.h"
#include "causal/mechanisms/regression.h"

namespace diffscm::causal {
namespace {

// Parameters, besides the network's:
//   noise = "empirical" | "normal"   draws are of the residuals themselves, or N(0, their
//   variance);
//                                    only the latter has a density
class AdditiveNoise : public RegressionMechanism {
 public:
  AdditiveNoise(const Role& role, Parameters parameters)
      : RegressionMechanism(role, 1, network_settings(parameters)) {
    normal_ = parameters.choice("noise", {"empirical", "normal"}) == "normal";
    parameters.finish();
  }

  bool has_log_density() const override { return normal_; }

  Values draw_noise(const RowRandom& random) const override {
    require(!residuals_.empty(), "the mechanism is not fitted: run diffscm scm fit");
    std::vector<double> noise;
    for (int64_t i = 0; i < random.size(); ++i) {
      RandomStream stream = random.stream(i);
      noise.push_back(
          normal_
              ? deviation_ * stream.normal()
              : residuals_[std::min(residuals_.size() - 1,
                                    static_cast<size_t>(stream.uniform() *
                                                        static_cast<double>(residuals_.size())))]);
    }
    return Values(std::move(noise));
  }

  MechanismState state() const override {
    MechanismState state = RegressionMechanism::state();
    state.tensors["residuals"] = exact_tensor(residuals_);
    return state;
  }
  void load(const MechanismState& given) override {
    MechanismState state = given;
    const auto found = state.tensors.find("residuals");
    require(found != state.tensors.end(), "the tensor residuals is missing");
    const std::vector<double> residuals = exact_numbers(found->second);
    require(!residuals.empty(), "there are no residuals");
    state.tensors.erase(found);
    RegressionMechanism::load(state);
    fit_noise(residuals);
  }
  std::string description() const override {
    return normal_ ? "additive noise, normal" : "additive noise, empirical";
  }

 protected:
  double to_noise(double z, std::span<const float> outputs) const override {
    return z - double{outputs[0]};
  }
  double to_value(double u, std::span<const float> outputs) const override {
    return u + double{outputs[0]};
  }
  double loss(double z, std::span<const float> outputs, std::span<float> gradient) const override {
    const double error = outputs[0] - z;
    if (!gradient.empty()) gradient[0] = static_cast<float>(2 * error);
    return error * error;
  }
  double negative_log_density(double z, std::span<const float> outputs) const override {
    const double u = to_noise(z, outputs) / deviation_;
    return u * u / 2 + std::log(2 * std::numbers::pi) / 2 + std::log(deviation_);
  }
  void fit_noise(std::span<const double> residuals) override {
    residuals_.assign(residuals.begin(), residuals.end());
    double squares = 0;
    for (const double u : residuals) squares += u * u;
    deviation_ = std::sqrt(squares / static_cast<double>(residuals.size()));
    if (deviation_ == 0) deviation_ = 1e-12;  // a function of the parents alone
  }

 private:
  bool normal_ = false;
  std::vector<double> residuals_;
  double deviation_ = 1;
};

}  // namespace

std::unique_ptr<Mechanism> make_additive_noise(const Role& role) {
  return std::make_unique<AdditiveNoise>(role, Parameters(role.node.mechanism.parameters));
}

}  // namespace diffscm::causal
