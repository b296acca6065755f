// Guidance: what pulls images towards the values of their parents, and how strongly.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "diffusion/epsilon.h"
#include "diffusion/step.h"

namespace diffscm {

// Terms of several parents, conditionally independent given x_t, add up. The two kinds of term say
// the same thing: with an exact network, by Bayes' rule,
//   grad log p(parent = value | x_t) = (eps_u - eps_c) / sqrt(1 - alpha_bar),
// so that the scale s of a condition, eps = eps_u + s (eps_c - eps_u), is that of a gradient,
//   eps = eps_u - s sqrt(1 - alpha_bar) grad log p (Dhariwal & Nichol 2021, algorithm 2).
struct Guidance {
  struct Term {
    TimestepFunction f;
    double scale = 1;  // s >= 0; a term of scale 0 is never asked
  };
  std::vector<Term> gradients{};   // GuidanceGradient: classifier guidance
  std::vector<Term> conditions{};  // EpsilonModel given the values: implicit guidance

  bool empty() const { return gradients.empty() && conditions.empty(); }
  // Every scale times s.
  Guidance scaled(double s) const;
};
// Throws Error naming the term that is empty or the scale that cannot be used.
void validate(const Guidance& guidance);

// A noise model under guidance: what a step asks the networks.
class Denoiser {
 public:
  // Throws Error when `epsilon` is empty or `guidance` not valid. One condition of scale 1 leaves
  // eps_c alone: eps_u is not asked. Conditions of the network that `epsilon` is (both bound to
  // features) are evaluated with it as one batch.
  Denoiser(const EpsilonModel& epsilon, const Guidance& guidance);

  // `scales`: Prediction's, of a denoiser whose scales may be read so.
  Prediction operator()(const Tensor& x, const Tensor& t, const Tensor& scales = {}) const;
  Prediction operator()(const Tensor& x, int timestep) const;

  // The same for images `rows` of the batch.
  Denoiser of(std::span<const int64_t> rows) const;
  bool is_recordable() const;
  // All that it asks.
  std::vector<const TimestepFunction*> functions() const;
  // Whether its scales, those of one gradient and one condition at most, may be read from memory in
  // a step with such a threshold: {scale, weight}.
  bool can_read_scales(const ThresholdOptions& threshold) const;
  std::array<double, 2> scales() const;
  // What a recording of it has within it beside the functions: how they are joined and, unless they
  // are read from memory, the scales.
  std::string signature(bool reads_scales) const;
  // TimestepFunction's, of all functions.
  Denoiser detached() const;
  void rebind(const Denoiser& other);
  // Its networks by replays (diffusion/replay.h), for batches of up to `largest` images.
  Denoiser replayed(Target target, int64_t largest) const;

 private:
  std::vector<TimestepFunction> eps_;  // unconditional, then under each condition
  int64_t joined_ = 0;                 // > 0: so many answers come from eps_[0] at once
  std::vector<double> scales_;         // of the conditions
  std::vector<Guidance::Term> gradients_;
};

}  // namespace diffscm
