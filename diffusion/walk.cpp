#include "diffusion/walk.h"

namespace diffscm {

DdimWalk::DdimWalk(const Denoiser& denoiser, const Chain& chain, const std::vector<Move>& moves,
                   const Tensor& x, const ThresholdOptions& threshold)
    : denoiser_(denoiser),
      moves_(moves),
      threshold_(threshold),
      x_(x.clone()),
      t_({x.dim(0)}, x.target()),
      levels_({2}, x.target(), Dtype::f64) {
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
  if (denoiser.is_recordable()) step_.emplace(x.target(), [this] { advance(threshold_); });
}

void DdimWalk::step() {
  const Move& move = moves_.at(moves_made_);
  const auto row = static_cast<int64_t>(moves_made_++);
  t_.copy_from(timesteps_.slice(row, row + 1).reshape(t_.shape()));
  levels_.copy_from(alpha_bars_.slice(row, row + 1).reshape(levels_.shape()));
  if (move.from == 0)
    advance({});
  else if (step_)
    step_->run();
  else
    advance(threshold_);
}

void DdimWalk::advance(const ThresholdOptions& threshold) {
  take({.from = 1, .to = 1, .levels = levels_, .threshold = threshold}, denoiser_(x_, t_), x_, x_);
}

}  // namespace diffscm
