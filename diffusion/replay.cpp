#include "diffusion/replay.h"

#include <algorithm>
#include <bit>
#include <map>
#include <memory>

#include "diffusion/batch.h"

namespace diffscm {

using kernels::Threshold;

namespace {

// One recorded evaluation at a fixed batch size.
class Evaluation {
 public:
  Evaluation(const TimestepFunction& f, const Shape& shape, Target target)
      : x_(Tensor::zeros(shape, target)),
        t_({shape[0]}, target),
        step_(target, [this, f] { out_ = f(x_, t_); }) {}

  // x has at most as many images as this was made for.
  Tensor at(const Tensor& x, int timestep) {
    const int64_t n = x.dim(0);
    x_.slice(0, n).copy_from(x);
    if (timestep != timestep_) t_.copy_from(Tensor::full(t_.shape(), static_cast<float>(timestep)));
    timestep_ = timestep;
    step_.run();
    // The next evaluation overwrites out_.
    return out_.slice(0, n).clone();
  }

 private:
  Tensor x_, t_, out_;
  int timestep_ = -1;
  CapturedStep step_;
};

}  // namespace

TimestepFunction replayed(const TimestepFunction& f, Target target, int64_t largest) {
  if (!f || !f.is_recordable() || !records_steps(target)) return f;
  // Shared by the copies of the function.
  const auto by_size = std::make_shared<std::map<int64_t, std::unique_ptr<Evaluation>>>();
  return [f, target, largest, by_size](const Tensor& x, int timestep) {
    const int64_t n = x.dim(0);
    if (n > largest) return f(x, timestep);
    Shape shape = x.shape();
    shape[0] = std::min(largest, static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(n))));
    auto& evaluation = (*by_size)[shape[0]];
    if (!evaluation) evaluation = std::make_unique<Evaluation>(f, shape, target);
    return evaluation->at(x, timestep);
  };
}

DdimWalk::DdimWalk(const EpsilonModel& epsilon, const GuidanceGradient& gradient,
                   const Chain& chain, const std::vector<Move>& moves, const Tensor& x,
                   const Options& options)
    : epsilon_(epsilon),
      gradient_(gradient),
      options_(options),
      x_(x.clone()),
      t_({x.dim(0)}, x.target()),
      levels_({2}, x.target(), Dtype::f64),
      step_(x.target(), [this] { body(); }) {
  const int64_t n = x.dim(0), count = static_cast<int64_t>(moves.size());
  std::vector<float> timesteps;
  std::vector<double> alpha_bars;
  for (const Move& m : moves) {
    timesteps.insert(timesteps.end(), static_cast<size_t>(n),
                     static_cast<float>(chain.timestep(m.asked)));
    alpha_bars.insert(alpha_bars.end(), {chain.alpha_bar(m.from), chain.alpha_bar(m.to)});
  }
  timesteps_ = Tensor::from(std::span<const float>(timesteps), {count, n}, x.target());
  alpha_bars_ = Tensor::from(std::span<const double>(alpha_bars), {count, 2}, x.target());
}

void DdimWalk::step() {
  t_.copy_from(timesteps_.slice(moves_made_, moves_made_ + 1).reshape(t_.shape()));
  levels_.copy_from(alpha_bars_.slice(moves_made_, moves_made_ + 1).reshape(levels_.shape()));
  ++moves_made_;
  step_.run();
}

void DdimWalk::body() {
  const int64_t n = x_.dim(0), elements = x_.numel() / n;
  const auto& ops = operators(x_.target());
  const Tensor eps = predict_noise(epsilon_, x_, t_);
  const Tensor guide = gradient_ ? guidance_at(gradient_, x_, t_) : Tensor();
  Tensor quantile;
  if (options_.threshold.kind == Threshold::dynamic) {
    quantile = Tensor({n}, x_.target());
    ops.abs_quantile({.n = n,
                      .elements = elements,
                      .alpha_bar = 1,
                      .q = options_.threshold.quantile,
                      .x = x_.data(),
                      .eps = eps.data(),
                      .quantile = quantile.mutable_data(),
                      .levels = levels_.data<double>()});
  }
  ops.ddim_update({.n = n,
                   .elements = elements,
                   .alpha_bar = 1,
                   .alpha_bar_next = 1,
                   .guidance_scale = guide ? options_.guidance_scale : 0,
                   .threshold = options_.threshold.kind,
                   .x = x_.data(),
                   .eps = eps.data(),
                   .gradient = guide ? guide.data() : nullptr,
                   .quantile = quantile ? quantile.data() : nullptr,
                   .levels = levels_.data<double>(),
                   .out = x_.mutable_data()});
}

}  // namespace diffscm
