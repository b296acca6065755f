#include "diffusion/walk.h"

#include <fmt/format.h>

namespace diffscm {

class DdimWalk::Advance {
 public:
  Advance(Denoiser denoiser, const Tensor& x, const ThresholdOptions& threshold)
      : denoiser_(std::move(denoiser)),
        threshold_(threshold),
        x_(x.clone()),
        t_({x.dim(0)}, x.target()),
        levels_({2}, x.target(), Dtype::f64) {
    if (denoiser_.can_read_scales(threshold)) scales_ = scales_of(denoiser_);
    if (denoiser_.is_recordable()) step_.emplace(x.target(), [this] { advance(threshold_); });
  }

  // Other images, what is bound to the networks for them, and other scales where they are read.
  void begin(const Denoiser& denoiser, const Tensor& x) {
    denoiser_.rebind(denoiser);
    x_.copy_from(x);
    if (scales_) scales_.copy_from(scales_of(denoiser));
  }
  // t [N], levels {from, to}.
  void step(const Tensor& t, const Tensor& levels, bool from_image) {
    t_.copy_from(t.reshape(t_.shape()));
    levels_.copy_from(levels.reshape(levels_.shape()));
    if (from_image)
      advance({});
    else if (step_)
      step_->run();
    else
      advance(threshold_);
  }
  const Tensor& images() const { return x_; }

 private:
  void advance(const ThresholdOptions& threshold) {
    take({.from = 1, .to = 1, .levels = levels_, .threshold = threshold},
         denoiser_(x_, t_, scales_), x_, x_);
  }
  Tensor scales_of(const Denoiser& denoiser) const {
    const std::array<double, 2> scales = denoiser.scales();
    return Tensor::from(std::span<const double>(scales), {2}, x_.target());
  }

  Denoiser denoiser_;
  const ThresholdOptions threshold_;
  Tensor x_, t_, levels_, scales_;    // scales_: empty where they are not read
  std::optional<CapturedStep> step_;  // empty: the networks cannot be recorded
};

DdimWalk::DdimWalk(const Denoiser& denoiser, const Chain& chain, const std::vector<Move>& moves,
                   const Tensor& x, const ThresholdOptions& threshold)
    : denoiser_(denoiser), moves_(moves) {
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

  const auto functions = denoiser.functions();
  if (!can_be_kept(functions, x.target())) {
    advance_ = std::make_unique<Advance>(denoiser, x, threshold);
    return;
  }
  key_.emplace(functions, fmt::format("{} {} {} {:a} {}", name_of(x.target()), to_string(x.shape()),
                                      static_cast<int>(threshold.kind), threshold.quantile,
                                      denoiser.signature(denoiser.can_read_scales(threshold))));
  advance_ = Kept<Advance>::recordings().take(*key_);
  if (advance_)
    advance_->begin(denoiser, x);
  else
    advance_ = std::make_unique<Advance>(denoiser.detached(), x, threshold);
}

DdimWalk::~DdimWalk() {
  if (key_ && advance_)
    Kept<Advance>::recordings().give_back(std::move(*key_), std::move(advance_));
}

void DdimWalk::step() {
  const Move& move = moves_.at(moves_made_);
  const auto row = static_cast<int64_t>(moves_made_++);
  try {
    advance_->step(timesteps_.slice(row, row + 1), alpha_bars_.slice(row, row + 1), move.from == 0);
  } catch (...) {  // a step that failed is not used again
    key_.reset();
    throw;
  }
}

const Tensor& DdimWalk::images() const {
  return advance_->images();
}

}  // namespace diffscm
