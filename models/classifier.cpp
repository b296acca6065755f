#include "models/classifier.h"

namespace diffscm {

ClassProbabilities Classifier::probabilities(const Tensor& x, double t) const {
  const NoGrad no_grad;
  ForwardContext context;
  return softmax(
      forward(x, Tensor::full({x.dim(0)}, static_cast<float>(t), x.target()), context).value());
}

Tensor Classifier::log_p_gradient(const Tensor& x, double t,
                                  const std::vector<int64_t>& labels) const {
  require(x.rank() > 0 && static_cast<int64_t>(labels.size()) == x.dim(0),
          "{} labels for images {}", labels.size(), to_string(x.shape()));
  require_labels(labels, config_.classes);
  return log_p_gradient(x, Tensor::full({x.dim(0)}, static_cast<float>(t), x.target()),
                        Tensor::from(labels, {x.dim(0)}, x.target()));
}

Tensor Classifier::log_p_gradient(const Tensor& x, const Tensor& t, const Tensor& labels) const {
  ForwardContext context;
  const Variable input = Variable::leaf(x);
  const Variable log_p = log_softmax_at(forward(input, t, context), labels);
  backward(log_p, Tensor::constant({x.dim(0)}, 1, x.target()));
  return input.gradient();
}

}  // namespace diffscm
