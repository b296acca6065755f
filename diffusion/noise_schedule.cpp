#include "diffusion/noise_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/error.h"

namespace diffscm {

const char* name_of(ScheduleKind kind) {
  return kind == ScheduleKind::linear ? "linear" : "cosine";
}

ScheduleKind parse_schedule_kind(std::string_view name) {
  for (const ScheduleKind kind : {ScheduleKind::linear, ScheduleKind::cosine})
    if (name == name_of(kind)) return kind;
  fail("unknown noise schedule '{}': choose linear or cosine", name);
}

namespace {

double cosine_signal(double u) {
  const double c = std::cos((u + 0.008) / 1.008 * std::numbers::pi / 2);
  return c * c;
}

}  // namespace

NoiseSchedule::NoiseSchedule(ScheduleKind kind, int steps) : kind_(kind) {
  // 1000 / T * 0.02 < 1 for linear; a one-step linspace has no second end.
  const int least = kind == ScheduleKind::linear ? 21 : 1;
  require(steps >= least && steps <= 1'000'000,
          "a {} noise schedule of {} steps: give {} to 1000000 (1000 is usual)", name_of(kind),
          steps, least);
  beta_.resize(static_cast<size_t>(steps));
  alpha_bar_.resize(beta_.size());
  double product = 1;
  for (int t = 0; t < steps; ++t) {
    const auto i = static_cast<size_t>(t);
    if (kind == ScheduleKind::linear) {
      const double scale = 1000.0 / steps;
      beta_[i] = scale * (1e-4 + (0.02 - 1e-4) * t / (steps - 1));
    } else {
      const double ratio = cosine_signal((t + 1.0) / steps) / cosine_signal(double(t) / steps);
      beta_[i] = std::min(1 - ratio, 0.999);
    }
    product *= 1 - beta_[i];
    alpha_bar_[i] = product;
  }
}

double NoiseSchedule::beta(int t) const {
  require(t >= 0 && t < timesteps(), "timestep {} is outside 0 .. {}", t, timesteps() - 1);
  return beta_[static_cast<size_t>(t)];
}

double NoiseSchedule::alpha_bar(int t) const {
  require(t >= 0 && t < timesteps(), "timestep {} is outside 0 .. {}", t, timesteps() - 1);
  return alpha_bar_[static_cast<size_t>(t)];
}

namespace {

int visited(int steps, int stride) {
  return (steps + stride - 1) / stride;
}

}  // namespace

Chain::Chain(const NoiseSchedule& schedule, int levels) {
  const int steps = schedule.timesteps();
  require(levels >= 1 && levels <= steps,
          "{} sampling steps over {} training steps: give 1 to {} (for example {})", levels, steps,
          steps, visited(steps, 10));
  // visited() falls as the stride grows, so the first stride at or below `levels` decides.
  int stride = 1;
  while (visited(steps, stride) > levels) ++stride;
  const int below = visited(steps, stride);
  require(below == levels,
          "{} sampling steps do not divide {} training steps by an integer stride: nearest are {} "
          "and {}",
          levels, steps, below, visited(steps, std::max(1, stride - 1)));
  timestep_.push_back(-1);
  alpha_bar_.push_back(1.0);
  for (int level = 1; level <= levels; ++level) {
    timestep_.push_back((level - 1) * stride);
    alpha_bar_.push_back(schedule.alpha_bar(timestep_.back()));
  }
}

int Chain::timestep(int level) const {
  require(level >= 1 && level <= levels(), "level {} of the chain is outside 1 .. {}", level,
          levels());
  return timestep_[static_cast<size_t>(level)];
}

double Chain::alpha_bar(int level) const {
  require(level >= 0 && level <= levels(), "level {} of the chain is outside 0 .. {}", level,
          levels());
  return alpha_bar_[static_cast<size_t>(level)];
}

double Chain::posterior_variance(int level) const {
  const double a = alpha_bar(level), b = alpha_bar(level - 1);
  return (1 - a / b) * (1 - b) / (1 - a);
}

double Chain::sigma(int level) const {
  const double a = alpha_bar(level);
  return std::sqrt((1 - a) / a);
}

int Chain::levels_of_fraction(double fraction) const {
  require(fraction > 0 && fraction <= 1, "fraction {} of the chain: give a number in (0, 1]",
          fraction);
  // 0.29 * 100 is 28.999..: a fraction that names a level must find it.
  const int count = static_cast<int>(std::floor(fraction * levels() + 1e-9));
  require(count >= 1, "fraction {} of a chain of {} levels is no level at all: give at least {}",
          fraction, levels(), 1.0 / levels());
  return count;
}

int Chain::checked_levels(int levels) const {
  require(levels >= 0 && levels <= this->levels(),
          "{} levels of a chain of {}: give 1 to {}, or 0 for all", levels, this->levels(),
          this->levels());
  return levels == 0 ? this->levels() : levels;
}

}  // namespace diffscm
