// A diffusion model of one number given its parents.
#pragma once

#include <algorithm>
#include <optional>

#include "causal/mechanisms/flow_head.h"
#include "causal/mechanisms/marginal_transform.h"
#include "causal/mechanisms/mixture_head.h"
#include "causal/mechanisms/parent_network.h"
#include "causal/mechanisms/probability_flow.h"

namespace diffscm::causal {

// A network estimates v (causal/mechanisms/probability_flow.h) of the number's transform
// (causal/mechanisms/marginal_transform.h); the
// noise of a value is where the probability flow ends. The flow of one number is monotone, so that
// an exact network couples value and noise by their quantiles: Phi(noise) = F(value | parents). A
// value beyond the node's range becomes the nearest within it.
//
// Parameters, besides the networks':
//   form = "conditional" | "anti-causal"
//     conditional: v(x, theta, parents) is one network (Chao et al. 2023, "Interventional and
//       counterfactual inference with diffusion models", with another schedule and solver)
//     anti-causal: as Sanchez & Tsaftaris 2022, proposition 1: v(x, theta) knows no parent; one
//       predictor per parent guides: v - tan(theta) d/dx log p(parents | x_theta). A number is
//       predicted by a mixture of normals, states by a softmax.
//   chained = true           anti-causal: parent k is predicted from x_theta and parents 0 .. k -
//   1,
//     so that the predictors multiply to p(parents | x_theta). false: from x_theta alone, as
//     published, which takes the parents for independent given x_theta; they are not
//   members = 4              networks that estimate v, each with a start and held-out rows of its
//   own;
//     their mean is taken
//   score_share = 0.7        of the transform; 0: the number is only standardised
//   flow_steps = 40          Runge-Kutta steps of the flow
//   location_scale = false   conditional: the network sees (z - location) / scale, both fitted
//     beforehand as functions of the parents, which leaves to the diffusion what is not normal. No
//     quantile moves by it; it helps where the scale changes, and harms where the location is sharp
//   encode = "factual" | "unconditional"    anti-causal: whether abduction is guided by the factual
//     parents, so that prediction walks the same way back, or not, as published. Then predict() of
//     abduct() is not the value
//   scale = 1                anti-causal: of the guidance
class DiffusionMechanism : public Mechanism {
 public:
  explicit DiffusionMechanism(const Role& role);

  Abduction abduction() const override { return Abduction::exact; }
  Values abduct(const Values& value, Parents parents, const RowRandom& random) const override;
  Values predict(const Values& noise, Parents parents) const override;
  Values draw_noise(const RowRandom& random) const override;
  // conditional: exact, the divergence of the flow of one number being one derivative.
  bool has_log_density() const override { return conditional_; }
  std::vector<double> log_density(const Values& value, Parents parents) const override;
  void fit(const Values& value, Parents parents, const FitOptions& options) override;
  bool is_fitted() const override {
    return std::ranges::all_of(members_, &ParentNetwork::is_fitted);
  }
  MechanismState state() const override;
  void load(const MechanismState& state) override;
  std::string description() const override;

 private:
  // p(parent | x_theta) of one parent.
  struct Predictor {
    ParentNetwork network;
    MixtureHead head{};
    size_t states = 0;  // 0: a number
    Standard standard{};

    double loss(double value, std::span<const float> outputs, std::span<float> gradient) const;
  };

  DiffusionMechanism(const Role& role, Parameters parameters);

  void fit_velocity(ParentNetwork& member, std::span<const double> z, Parents parents,
                    const FitOptions& options);
  void fit_predictor(Predictor& predictor, std::span<const double> z, const Values& parent,
                     Parents told, const FitOptions& options, const std::string& name);
  // The parents that predictor k is told.
  Parents told(Parents parents, size_t k) const { return parents.first(chained_ ? k : 0); }
  // Told the parents, or, anti-causal and not `guided`, nothing.
  Velocity velocity(Parents parents, int64_t rows, bool guided) const;
  // Rows of location and log scale, where the network sees values so.
  std::vector<float> location_scale(Parents parents, int64_t rows) const;
  std::vector<double> to_standard(const Values& value, std::span<const float> outputs) const;

  data::Attribute attribute_;
  std::vector<std::string> parents_;
  bool conditional_, encode_factual_ = true, chained_ = true;
  double scale_ = 1;
  int flow_steps_;
  FlowHead affine_;
  std::optional<ParentNetwork> location_scale_;
  std::vector<ParentNetwork> members_;  // estimate v
  std::vector<Predictor> predictors_;
  double score_share_ = 0.7;
  MarginalTransform marginal_;
};

std::unique_ptr<Mechanism> make_diffusion(const Role& role);

}  // namespace diffscm::causal
