#include "training/gradient_matching.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "diffusion/batch.h"
#include "diffusion/in_parts.h"
#include "engine/random.h"

namespace diffscm {
namespace {

constexpr double kStep = 0.1;  // c: a tenth of the mismatch, which is of the size of the noise

}  // namespace

GradientMatching::GradientMatching(const DiffusionModel& teacher, const std::string& label,
                                   double weight, uint64_t seed, int64_t at_a_time)
    : teacher_(teacher), weight_(weight), seed_(seed), at_a_time_(at_a_time) {
  const auto& known = teacher.conditions();
  const auto at =
      std::find_if(known.begin(), known.end(), [&](const Condition& c) { return c.name == label; });
  require(at != known.end() && at->is_category(), "{} cannot be told the class '{}'",
          teacher.info().path, label);
  condition_ = static_cast<size_t>(at - known.begin());
}

TrainingBatch GradientMatching::batch(Classifier& classifier, const NoisyBatch& b, int64_t step) {
  if (!frozen_) frozen_ = std::make_unique<Classifier>(classifier.config(), /*seed=*/0);
  const auto live = named_parameters(classifier), frozen = named_parameters(*frozen_);
  for (size_t i = 0; i < live.size(); ++i)
    frozen[i].second->variable = Variable(live[i].second->variable.value());

  const int64_t n = b.x_t.dim(0);
  const Target target = b.x_t.target();
  const std::vector<Condition>& conditions = teacher_.conditions();
  std::vector<double> told(static_cast<size_t>(n) * conditions.size(),
                           std::numeric_limits<double>::quiet_NaN());
  std::vector<int64_t> wanted(n);
  const kernels::RandomKey key{seed_, kernels::Purpose::condition, static_cast<uint32_t>(step)};
  for (int64_t i = 0; i < n; ++i) {
    const uint64_t word = kernels::philox(key, static_cast<uint64_t>(i), 0).word[0];
    wanted[i] =
        static_cast<int64_t>((word * static_cast<uint64_t>(classifier.config().classes)) >> 32);
    told[static_cast<size_t>(i) * conditions.size() + condition_] = static_cast<double>(wanted[i]);
  }
  const Tensor label = Tensor::from(wanted, {n}, target);

  const auto log_p_gradient = [&](const Tensor& x, const Tensor& t,
                                  const GuidanceGradient::Bound& bound) {
    return frozen_->log_p_gradient(x, t, bound[0]);
  };
  const Tensor g = in_parts({log_p_gradient, {label}}, at_a_time_)(b.x_t, b.t);
  const NoGrad no_grad;
  const EpsilonModel eps = in_parts(teacher_.epsilon(), at_a_time_);
  const Tensor unconditional = eps(b.x_t, b.t);
  const Tensor conditional = eps(b.x_t, b.t, {condition_features(conditions, told, target)});

  // r = sigma (sigma g - (eps_u - eps_c)).
  const NoiseSchedule schedule = teacher_.schedule();
  std::vector<float> sigma(n), variance(n), minus(n);
  for (int64_t i = 0; i < n; ++i) {
    variance[i] = static_cast<float>(1 - schedule.alpha_bar(b.timesteps[i]));
    sigma[i] = std::sqrt(variance[i]);
    minus[i] = -sigma[i];
  }
  const Tensor implied = combine(1, unconditional, -1, conditional);
  const Tensor r = combine(variance, g, minus, implied);

  // The loss's value: sigma^2 |g - v|^2 = |r|^2 / sigma^2, of which the difference gives 2 <r, g>.
  const auto dots = sample_dots(std::vector<TensorPair>{{r, r}, {r, g}});
  std::vector<float> rest(n);
  for (int64_t i = 0; i < n; ++i)
    rest[i] = static_cast<float>(weight_ * (dots[0][i] / variance[i] - 2 * dots[1][i]));
  return {combine(1, b.x_t, kStep, r),    combine(1, b.x_t, -kStep, r), b.t, b.label, label,
          Tensor::from(rest, {n}, target)};
}

Variable GradientMatching::loss(const Classifier& classifier, const TrainingBatch& batch,
                                ForwardContext& context) const {
  const Tensor &t = batch[2], &label = batch[3], &target = batch[4];
  const auto slope = static_cast<float>(weight_ / kStep);
  const auto at = [&](const Tensor& x, float side) {
    const Variable logits = classifier.forward(x, t, context);
    return add(scale(log_softmax_at(logits, label), -0.5f),
               scale(log_softmax_at(logits, target), side * slope));
  };
  return add(add(at(batch[0], 1), at(batch[1], -1)), Variable(batch[5]));
}

}  // namespace diffscm
