#include "diffusion/guidance.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "diffusion/batch.h"
#include "diffusion/replay.h"

namespace diffscm {

Guidance Guidance::scaled(double s) const {
  Guidance result = *this;
  for (auto* terms : {&result.gradients, &result.conditions})
    for (Term& term : *terms) term.scale *= s;
  return result;
}

void validate(const Guidance& guidance) {
  for (const auto* terms : {&guidance.gradients, &guidance.conditions})
    for (const Guidance::Term& term : *terms) {
      require(static_cast<bool>(term.f), "guidance by nothing: give a classifier or a condition");
      require(std::isfinite(term.scale) && term.scale >= 0,
              "guidance scale {}: give a finite number >= 0", term.scale);
    }
}

Denoiser::Denoiser(const EpsilonModel& epsilon, const Guidance& guidance) {
  require(static_cast<bool>(epsilon), "there is no noise model to ask");
  validate(guidance);
  eps_.push_back(epsilon);
  for (const Guidance::Term& term : guidance.gradients)
    if (term.scale > 0) gradients_.push_back(term);
  for (const Guidance::Term& term : guidance.conditions)
    if (term.scale > 0) {
      eps_.push_back(term.f);
      scales_.push_back(term.scale);
    }
  if (scales_ == std::vector<double>{1}) {
    eps_ = {eps_.back()};
    scales_.clear();
  }
  const bool joins = std::all_of(eps_.begin(), eps_.end(),
                                 [&](const TimestepFunction& f) { return f.joins(eps_[0]); });
  if (eps_.size() > 1 && joins) {
    joined_ = static_cast<int64_t>(eps_.size());
    eps_ = {TimestepFunction::joined(eps_)};
  }
}

Prediction Denoiser::operator()(const Tensor& x, const Tensor& t, const Tensor& scales) const {
  std::vector<Tensor> eps;
  if (joined_ > 0) {
    const auto copies = static_cast<size_t>(joined_);
    const Tensor all = eps_[0](concatenate(std::vector<Tensor>(copies, x), x.target()),
                               concatenate(std::vector<Tensor>(copies, t), t.target()));
    for (int64_t n = x.dim(0), k = 0; k < joined_; ++k)
      eps.push_back(all.slice(k * n, (k + 1) * n));
  } else {
    for (const TimestepFunction& f : eps_) eps.push_back(f(x, t));
  }
  Prediction result;
  result.scales = scales;
  if (scales_.empty()) {
    result.eps = eps[0];
  } else if (scales_.size() == 1) {
    result.base = eps[0];
    result.eps = eps[1];
    result.weight = scales_[0];
  } else {
    const double rest = 1 - std::accumulate(scales_.begin(), scales_.end(), 0.0);
    result.eps = combine(rest, eps[0], scales_[0], eps[1]);
    for (size_t k = 1; k < scales_.size(); ++k)
      result.eps = combine(1, result.eps, scales_[k], eps[k + 1]);
  }
  if (gradients_.size() == 1) {
    result.gradient = gradients_[0].f(x, t);
    result.scale = gradients_[0].scale;
  } else if (!gradients_.empty()) {
    const Tensor first = gradients_[0].f(x, t);
    result.gradient = combine(gradients_[0].scale, first, 0, first);
    for (size_t k = 1; k < gradients_.size(); ++k)
      result.gradient = combine(1, result.gradient, gradients_[k].scale, gradients_[k].f(x, t));
    result.scale = 1;
  }
  return result;
}

Prediction Denoiser::operator()(const Tensor& x, int timestep) const {
  return (*this)(x, Tensor::full({x.dim(0)}, static_cast<float>(timestep), x.target()));
}

Denoiser Denoiser::of(std::span<const int64_t> rows) const {
  Denoiser result = *this;
  std::vector<int64_t> all(rows.begin(), rows.end());
  if (joined_ > 0 && !eps_[0].bound().empty()) {
    const int64_t images = eps_[0].bound()[0].dim(0) / joined_;
    for (int64_t k = 1; k < joined_; ++k)
      for (const int64_t row : rows) all.push_back(k * images + row);
  }
  for (TimestepFunction& f : result.eps_) f = f.of(all);
  for (Guidance::Term& term : result.gradients_) term.f = term.f.of(rows);
  return result;
}

bool Denoiser::is_recordable() const {
  return std::all_of(eps_.begin(), eps_.end(), [](const auto& f) { return f.is_recordable(); }) &&
         std::all_of(gradients_.begin(), gradients_.end(),
                     [](const auto& term) { return term.f.is_recordable(); });
}

std::vector<const TimestepFunction*> Denoiser::functions() const {
  std::vector<const TimestepFunction*> all;
  for (const TimestepFunction& f : eps_) all.push_back(&f);
  for (const Guidance::Term& term : gradients_) all.push_back(&term.f);
  return all;
}

bool Denoiser::can_read_scales(const ThresholdOptions& threshold) const {
  return gradients_.size() <= 1 &&
         (scales_.empty() ||
          (scales_.size() == 1 && threshold.kind != kernels::Threshold::dynamic));
}

std::array<double, 2> Denoiser::scales() const {
  return {gradients_.empty() ? 0 : gradients_[0].scale, scales_.empty() ? 1 : scales_[0]};
}

std::string Denoiser::signature(bool reads_scales) const {
  std::string text = fmt::format("{} {} {}", eps_.size(), joined_, gradients_.size());
  if (reads_scales) return text;
  for (const double s : scales_) text += fmt::format(" {:a}", s);
  for (const Guidance::Term& term : gradients_) text += fmt::format(" {:a}", term.scale);
  return text;
}

Denoiser Denoiser::detached() const {
  Denoiser result = *this;
  for (TimestepFunction& f : result.eps_) f = f.detached();
  for (Guidance::Term& term : result.gradients_) term.f = term.f.detached();
  return result;
}

void Denoiser::rebind(const Denoiser& other) {
  for (size_t i = 0; i < eps_.size(); ++i) eps_[i].rebind(other.eps_.at(i));
  for (size_t i = 0; i < gradients_.size(); ++i) gradients_[i].f.rebind(other.gradients_.at(i).f);
}

Denoiser Denoiser::replayed(Target target, int64_t largest) const {
  Denoiser result = *this;
  for (TimestepFunction& f : result.eps_)
    f = diffscm::replayed(f, target, largest * std::max<int64_t>(joined_, 1));
  for (Guidance::Term& term : result.gradients_)
    term.f = diffscm::replayed(term.f, target, largest);
  return result;
}

}  // namespace diffscm
