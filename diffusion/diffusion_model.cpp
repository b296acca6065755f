#include "diffusion/diffusion_model.h"

#include <cmath>
#include <optional>

#include "models/config_fields.h"

namespace diffscm {
namespace {

template <class T>
T entry(const ModelInfo& info, const nlohmann::json& section, const char* name) {
  const auto found = section.find(name);
  const std::optional<T> value = found == section.end() ? std::nullopt : exactly<T>(*found);
  require(value.has_value(), "{}: the metadata lack a usable '{}'", info.path, name);
  return *value;
}

}  // namespace

NoiseSchedule DiffusionModel::schedule() const {
  return {parse_schedule_kind(entry<std::string>(info_, info_.diffusion, "schedule")),
          entry<int>(info_, info_.diffusion, "timesteps")};
}

DiffusionModel::DiffusionModel(const std::string& path, Target target, int steps, Dtype layers)
    : DiffusionModel(load_model<UNet>(path, target, layers), target, steps, layers) {}

DiffusionModel::DiffusionModel(LoadedModel<UNet> loaded, Target target, int steps, Dtype layers)
    : info_(std::move(loaded.info)),
      target_(target),
      layers_(layers),
      unet_(std::make_shared<const UNet>(std::move(loaded.model))) {
  network_ = std::make_shared<const EpsilonModel::Body>(
      [unet = unet_, variance = variance_](const Tensor& x, const Tensor& t,
                                           const EpsilonModel::Bound& bound) {
        const Tensor features = bound.empty() ? Tensor() : bound[0];
        if (!variance->wanted) return unet->predict(x, t, features);
        const UNet::Outputs outputs = unet->outputs(x, t, features);
        variance->v = outputs.v;
        return outputs.eps;
      });
  if (steps == 0) steps = entry<int>(info_, info_.diffusion, "sampling_steps");
  chain_ = std::make_shared<const Chain>(schedule(), steps);
}

std::string DiffusionModel::first_unknown(const data::Assignment& known) const {
  for (const Condition& c : conditions())
    if (!known.contains(c.name)) return c.name;
  return {};
}

Tensor DiffusionModel::features(std::span<const data::Assignment> parents) const {
  require(is_conditional(), "{} is unconditional: it cannot be told any parent", info_.path);
  std::vector<double> values;
  for (const data::Assignment& known : parents)
    for (const Condition& c : conditions()) {
      const auto value = known.find(c.name);
      values.push_back(value == known.end() ? std::nan("") : value->second);
    }
  return condition_features(conditions(), values, target_);
}

EpsilonModel DiffusionModel::epsilon(std::span<const data::Assignment> parents) const {
  return of_network({features(parents)});
}

// The learnt variance is left behind by whoever evaluates the network.
EpsilonModel DiffusionModel::of_network(EpsilonModel::Bound bound) const {
  const EpsilonModel epsilon = EpsilonModel::recordable(network_, std::move(bound));
  return learns_variance() ? epsilon.with_traces() : epsilon;
}

DifferentiableEpsilon DiffusionModel::differentiable_epsilon(
    std::span<const data::Assignment> parents) const {
  return [unet = unet_, told = parents.empty() ? Tensor() : features(parents)](
             const Tensor& x, const Tensor& t, const Tensor& v) {
    const Variable input = Variable::leaf(x);
    ForwardContext context;
    const Variable eps = unet->forward(input, t, context, told);
    backward(eps, v);
    return EpsilonProduct{eps.value(), input.gradient()};
  };
}

std::function<Tensor()> DiffusionModel::learnt_variance() const {
  require(learns_variance(), "{} has not learnt the variance of its steps", info_.path);
  variance_->wanted = true;
  return [variance = variance_] { return variance->v; };
}

Shape DiffusionModel::image_shape(int64_t n) const {
  const UNetConfig& c = unet_->config();
  return {n, c.image_size, c.image_size, c.in_channels};
}

void DiffusionModel::check_fits(const data::Dataset& dataset) const {
  const Shape s = image_shape(1);
  require(dataset.height == s[1] && dataset.width == s[2] && dataset.channels == s[3],
          "{} was trained on {}x{}x{} images, {} has {}x{}x{}", info_.path, s[1], s[2], s[3],
          dataset.name, dataset.height, dataset.width, dataset.channels);
}

}  // namespace diffscm
