// A diffusion model of images given their parents.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "causal/mechanism.h"
#include "causal/mechanisms/image_training.h"
#include "causal/mechanisms/parameters.h"
#include "diffusion/abduction.h"
#include "diffusion/anti_causal_predictor.h"
#include "diffusion/diffusion_model.h"

namespace diffscm::causal {

// Images are predicted from their noise by walking down a diffusion's chain, told the parents; the
// noise of an image is what that walk needs to end at it. With `ddpm` it is the noise of every
// step, one of many that lead to the image; with `ddim` and `fixed-point` it is the point at the
// top. predict() clamps to [-1, 1], which no factual image notices.
//
// Parameters:
//   form = "conditional" | "anti-causal"
//     conditional: the U-Net is told the parents
//     anti-causal: as Sanchez & Tsaftaris 2022, proposition 1: a U-Net that is told nothing, guided
//       by the gradient of log p(parent | x_t) of one predictor per parent
//   encode = "factual" | "unconditional"   whether abduction walks under the factual parents, so
//     that predict() of abduct() is the image, or, as published, under none
//   abduction = "ddpm" | "ddim" | "fixed-point"
//   scale = 1           of the parents' influence: 1 as trained, 0 none. conditional:
//     eps = eps(nothing) + scale (eps(parents) - eps(nothing)); anti-causal: of the gradients
//   scales = {NAME = s}   anti-causal: of single parents instead
//   levels = 0          of the chain; 0: as many as the model's file says
//   least_change = 0    grey levels: of a counterfactual, a pixel no channel of which moves by more
//     keeps its factual value (diffusion/batch.h: shrink_change). This takes the network's small
//     errors off a change that is known to be sparse: where a cause reaches, it shows. abduct() and
//     predict() know nothing of it
//   model = "FILE"      a U-Net that is trained already; beside the graph's file. fit() keeps it
//   predictors = {NAME = "FILE", ..}   likewise, of the parents
// and of the training, where there is no `model`:
//   unet = {..}         entries of its configuration (models/unet.h) that differ from those of the
//     preset mnist; image size and channels are the data's
//   predictor = {..}    anti-causal: of the predictors' (models/encoder.h)
//   steps = 12000, batch = 64, lr = 1e-3, drop = 0.15
class ImageDiffusion : public Mechanism {
 public:
  explicit ImageDiffusion(const Role& role);

  Abduction abduction() const override;
  // Noise: images [rows, 1 + K, H, W, C], the point at the top of the chain and, with ddpm, the
  // noise of its K = levels steps, the lowest first.
  Values abduct(const Values& value, Parents parents, const RowRandom& random) const override;
  Values predict(const Values& noise, Parents parents) const override;
  Values counterfactual(const Values& factual, const Values& noise, Parents parents) const override;
  Values draw_noise(const RowRandom& random) const override;
  void fit(const Values& value, Parents parents, const FitOptions& options) override;
  bool is_fitted() const override { return model_.has_value(); }
  MechanismState state() const override;
  void load(const MechanismState& state) override;
  void move_to(Target target, Dtype layers) override;
  void configure(const nlohmann::json& parameters) override;
  void watch(Watch watch) override { watch_ = std::move(watch); }
  std::vector<std::string> warnings(Parents parents) const override;
  std::string description() const override;
  // Throws Error unless the model makes images of this shape.
  void require_shape(int64_t height, int64_t width, int64_t channels) const;

 private:
  // What may change after the fit.
  struct Walk {
    bool factual = true;
    AbductionMethod method = AbductionMethod::ddpm;
    int levels = 0;
    std::vector<double> scales;  // by parent; of a conditional model all the same
    double least_change = 0;
  };

  Walk walk_of(Parameters& parameters) const;
  // Of the network in state_, with the predictors'.
  void build();
  void add_predictor(const Node& parent);
  int levels() const { return model_->chain().levels(); }
  const DiffusionModel& model() const;
  // Which numbers of parent p the networks were trained on; null: states.
  const Condition* seen(size_t p) const;
  Shape noise_shape(int64_t rows) const;
  Observer observer(bool predicting) const;
  // How rows [begin, end) are pulled towards these parents.
  Guidance guidance(Parents parents, int64_t begin, int64_t end) const;

  Role role_;
  bool conditional_;
  Walk walk_;
  ImageTraining training_{};
  Target target_ = Target::cpu;
  Dtype layers_ = Dtype::f32;
  Watch watch_;
  MechanismState state_;  // of all networks, as in their files
  std::optional<DiffusionModel> model_;
  std::vector<size_t> condition_;                // of each parent: conditional, among the model's
  std::vector<AntiCausalPredictor> predictors_;  // of each parent: anti-causal
};

std::unique_ptr<Mechanism> make_image_diffusion(const Role& role);

// Throws Error where the mechanism is a diffusion of images of another shape than the data's.
void require_makes_images_of(const data::Dataset& dataset, const Mechanism& mechanism);

}  // namespace diffscm::causal
