#include "models/regressor.h"

#include <cmath>

namespace diffscm {

NoiseLevelPrecision::NoiseLevelPrecision(std::span<const NoiseLevelError> sigma, Target target) {
  require(!sigma.empty(), "the error by noise level has not been measured");
  // From the last level down: the slope of each piece, beyond that of the piece after it.
  const auto count = static_cast<int64_t>(sigma.size());
  std::vector<float> knots(sigma.size()), slopes(sigma.size());
  const auto precision = [&](size_t k) { return 1 / (sigma[k].rms * sigma[k].rms); };
  double slope = 0;
  for (size_t k = sigma.size(); k-- > 0;) {
    // The piece below the first level is flat.
    const double below =
        k > 0 ? (precision(k - 1) - precision(k)) / (sigma[k].timestep - sigma[k - 1].timestep) : 0;
    knots[k] = static_cast<float>(sigma[k].timestep);
    slopes[k] = static_cast<float>(below - slope);
    slope = below;
  }
  minus_one_ = Tensor::full({count, 1}, -1, target);
  knots_ = Tensor::from(knots, {count}, target);
  slopes_ = Tensor::from(slopes, {1, count}, target);
  last_ = Tensor::full({1}, static_cast<float>(precision(sigma.size() - 1)), target);
}

Tensor NoiseLevelPrecision::operator()(const Tensor& t) const {
  const NoGrad no_grad;
  const Variable distance = linear(t.reshape({t.numel(), 1}), minus_one_, knots_);  // [N,K]
  return linear(relu(distance), slopes_, last_).value().reshape({t.numel()});
}

std::vector<double> Regressor::values(const Tensor& x, double t) const {
  const NoGrad no_grad;
  ForwardContext context;
  const Tensor f =
      forward(x, Tensor::full({x.dim(0)}, static_cast<float>(t), x.target()), context).value();
  std::vector<double> values;
  for (const float z : f.to_vector())
    values.push_back(config_.attribute.mean + config_.attribute.deviation * z);
  return values;
}

Tensor Regressor::standardised(std::span<const double> values, Target target) const {
  const Condition& a = config_.attribute;
  std::vector<float> y;
  for (const double value : values)
    y.push_back(static_cast<float>(diffscm::standardised(a.name, value, a.mean, a.deviation)));
  return Tensor::from(y, {std::ssize(y), 1}, target);
}

Tensor Regressor::log_p_gradient(const Tensor& x, const Tensor& t, const Tensor& y,
                                 const Tensor& precision) const {
  ForwardContext context;
  const Variable input = Variable::leaf(x);
  const Variable error = mse_loss(forward(input, t, context), y, precision);
  backward(error, Tensor::constant({x.dim(0)}, -0.5f, x.target()));
  return input.gradient();
}

}  // namespace diffscm
