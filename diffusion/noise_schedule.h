// The noise schedule of a diffusion model and the chain of levels that samplers and abduction walk.
#pragma once

#include <string_view>
#include <vector>

namespace diffscm {

enum class ScheduleKind { linear, cosine };
const char* name_of(ScheduleKind kind);
// Throws Error naming the choices.
ScheduleKind parse_schedule_kind(std::string_view name);

// The forward process x_t = sqrt(alpha_bar(t)) x_0 + sqrt(1 - alpha_bar(t)) eps over the T steps
// that the network was trained on, t = 0 .. T-1 from almost clean to almost pure noise. All in
// double.
//   linear  beta(t) = (1000 / T) (1e-4 + (0.02 - 1e-4) t / (T - 1))       Ho et al. 2020
//   cosine  beta(t) = min(1 - f((t + 1) / T) / f(t / T), 0.999),
//           f(u) = cos^2((u + 0.008) / 1.008 pi / 2)                      Nichol & Dhariwal 2021,
//           eq. 17
// Throws Error when T leaves no usable schedule (linear: T < 21, where beta would reach 1; cosine:
// 1).
class NoiseSchedule {
 public:
  NoiseSchedule(ScheduleKind kind, int steps);

  ScheduleKind kind() const { return kind_; }
  int timesteps() const { return static_cast<int>(beta_.size()); }
  // Throw Error unless 0 <= t < timesteps().
  double beta(int t) const;
  double alpha_bar(int t) const;

 private:
  ScheduleKind kind_;
  std::vector<double> beta_, alpha_bar_;
};

// A grid of S + 1 noise levels over a schedule, shared by abduction (0 -> L) and prediction (L ->
// 0), so that both ends name the same tensors by the same level:
//   level 0        the clean image: alpha_bar 1, no timestep (no network is ever asked about it)
//   level 1 .. S   timestep(level) = (level - 1) stride, and the schedule's alpha_bar there
// The stride is the smallest integer that visits exactly S of the T timesteps ("ddimS" of Nichol &
// Dhariwal 2021); with S = 100 and T = 1000 the timesteps are 0, 10, .., 990. Throws Error naming
// the nearest possible S when there is none.
class Chain {
 public:
  Chain(const NoiseSchedule& schedule, int levels);

  int levels() const { return static_cast<int>(timestep_.size()) - 1; }  // S
  int timestep(int level) const;                                         // 1 <= level <= S
  double alpha_bar(int level) const;                                     // 0 <= level <= S
  // Noise per unit of signal, sqrt((1 - alpha_bar) / alpha_bar): 0 at level 0.
  double sigma(int level) const;
  // Of x_{l-1} given x_l and x_0 (Ho et al. 2020, eq. 7), 1 <= level <= S: that of an ancestral
  // step.
  double posterior_variance(int level) const;
  // L = floor(fraction S), the part of the chain that is walked. Requires 0 < fraction <= 1 and L
  // >= 1.
  int levels_of_fraction(double fraction) const;
  // L itself, or S when L is 0 ("all"). Throws Error unless 0 <= L <= S.
  int checked_levels(int levels) const;

 private:
  std::vector<int> timestep_;      // by level; entry 0 is unused
  std::vector<double> alpha_bar_;  // by level
};

}  // namespace diffscm
