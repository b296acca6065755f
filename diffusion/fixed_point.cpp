// With F(x) = y - step(x), the residual in units of the cleaner level, plain iteration is x + F(x)
// / A, A being the factor of x in the step. Anderson acceleration of type II (Walker & Ni 2011)
// remembers secants (dX, dF), takes the combination of them that best explains F, and iterates from
// there:
//   gamma = argmin |F - sum_j gamma_j dF_j|,   p = beta F / A - sum_j gamma_j (dX_j + beta dF_j /
//   A).
//
// Three safeguards make it descend where the step is far from a contraction. The base of every
// trial is the best iterate so far; a trial that is worse is refused, but its secant is kept: it
// says how the residual bends. Each refusal halves the damping beta and the reach of a step, each
// success doubles them. After kTrust refusals in a row the secants are not trusted and the trial is
// a short plain step, which descends whenever the step is monotone, as it is for an exact score.
//
// Everything is per image: coefficients, acceptance, stopping. One operator does all of it between
// two evaluations of the network (kernels/anderson.h), where the images are; the host queues
// evaluations and looks now and then who is finished.
#include "diffusion/fixed_point.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "diffusion/batch.h"

namespace diffscm {

namespace {

constexpr double kRoundOff = 0x1p-23;  // of x, whose RMS is near 1 where A is large
// A device comes to rest when the host looks, and an image that is finished before that is
// evaluated on for nothing: the first look comes after `unseen` iterations, but no more than so
// many, and each later one after a quarter more of all until then.
constexpr int kUnseenMost = 4;

class StepSolver {
 public:
  StepSolver(const Denoiser& denoiser, const Chain& chain, int level,
             const FixedPointOptions& options)
      : batch_(denoiser),
        denoiser_(denoiser),
        timestep_(static_cast<float>(chain.timestep(level))),
        step_{.from = chain.alpha_bar(level), .to = chain.alpha_bar(level - 1)},
        options_(options) {
    plain_ = std::sqrt(step_.from / step_.to);
    tolerance_ = std::max(options.tolerance / kGreyLevels, kRoundOff / plain_);
  }

  FixedPoint solve(const Tensor& y, const Tensor& guess) {
    const bool waits = y.target() != Target::cpu;
    start(y, guess);
    for (int done = 0, unseen = 1; !rows_.empty(); done += unseen) {
      if (waits) unseen = std::max(1, done > 0 ? done / 4 : std::min(options_.unseen, kUnseenMost));
      for (int i = 0; i < unseen; ++i) iterate();
      retire();
    }
    return std::move(result_);
  }

 private:
  void start(const Tensor& y, const Tensor& guess) {
    const Target target = y.target();
    const int64_t n = y.dim(0);
    rows_.resize(static_cast<size_t>(n));
    std::iota(rows_.begin(), rows_.end(), int64_t{0});
    rows_at_ = Tensor::from(rows_, {n}, target);
    t_ = Tensor::full({n}, timestep_, target);
    y_ = y;
    trial_ = guess.clone();
    // Without one finite answer the guess and a zero eps stand.
    result_.x = guess.clone();
    result_.eps = Tensor::zeros(y.shape(), target);
    f_ = Tensor(y.shape(), target);
    if (options_.memory > 0) {
      Shape secants = y.shape();
      secants.insert(secants.begin(), options_.memory);
      dx_ = Tensor(secants, target);
      df_ = Tensor(secants, target);
    }
    const int64_t numbers = kernels::anderson_state_size(options_.memory);
    state_ =
        Tensor::from(std::vector<double>(static_cast<size_t>(n * numbers)), {n, numbers}, target);
  }

  // Evaluates the trial of each image under way, and makes its next.
  void iterate() {
    const int64_t n = trial_.dim(0), images = y_.dim(0);
    const Prediction prediction = denoiser_(trial_, t_.slice(0, n));
    const Tensor eps = prediction.direction(step_.from);
    Tensor below(trial_.shape(), trial_.target());
    take(step_, prediction, trial_, below);
    operators(y_.target())
        .anderson({.n = n,
                   .images = images,
                   .elements = y_.numel() / images,
                   .memory = options_.memory,
                   .plain = plain_,
                   // The RMS of the noise at this level: a longer step would leave the
                   // distribution.
                   .longest = std::sqrt(1 - step_.from),
                   .tolerance = tolerance_,
                   .evaluations_most = options_.max_iterations,
                   .rows = rows_at_.data<int64_t>(),
                   .y = y_.data(),
                   .below = below.data(),
                   .eps_trial = eps.data(),
                   .trial = trial_.mutable_data(),
                   .x = result_.x.mutable_data(),
                   .f = f_.mutable_data(),
                   .eps = result_.eps.mutable_data(),
                   .dx = dx_ ? dx_.mutable_data() : nullptr,
                   .df = df_ ? df_.mutable_data() : nullptr,
                   .state = state_.mutable_data<double>()});
  }

  // Closes the ranks, so that no further evaluation is spent on images that are finished.
  void retire() {
    const std::vector<kernels::AndersonState> states = read_states();
    std::vector<int64_t> stay, stay_rows;
    for (size_t i = 0; i < rows_.size(); ++i) {
      if (states[static_cast<size_t>(rows_[i])].finished != 0) continue;
      stay.push_back(static_cast<int64_t>(i));
      stay_rows.push_back(rows_[i]);
    }
    if (!stay.empty() && stay.size() < rows_.size()) {
      denoiser_ = batch_.of(stay_rows);
      trial_ = gather(trial_, stay);
      rows_at_ = Tensor::from(stay_rows, {static_cast<int64_t>(stay.size())}, y_.target());
    }
    rows_ = std::move(stay_rows);
    if (!rows_.empty()) return;
    for (const kernels::AndersonState& s : states) {
      result_.residual.push_back(static_cast<float>(kGreyLevels * s.residual));
      result_.converged.push_back(s.residual <= tolerance_);
      result_.evaluations.push_back(static_cast<int>(s.evaluations));
    }
  }

  std::vector<kernels::AndersonState> read_states() const {
    const Tensor here = state_.to(Target::cpu);
    std::vector<kernels::AndersonState> states(static_cast<size_t>(here.dim(0)));
    for (size_t i = 0; i < states.size(); ++i)
      std::memcpy(&states[i], here.data<double>() + static_cast<int64_t>(i) * here.dim(1),
                  sizeof(kernels::AndersonState));
    return states;
  }

  const Denoiser& batch_;  // of all images
  Denoiser denoiser_;      // of those still being solved
  const float timestep_;
  const Step step_;
  const FixedPointOptions options_;
  double plain_ = 1;      // 1 / A: what a plain step makes of a residual
  double tolerance_ = 0;  // RMS

  std::vector<int64_t> rows_;       // the images still being solved, by their places in the batch
  Tensor rows_at_;                  // the same where the images are
  Tensor trial_;                    // theirs
  Tensor t_;                        // [N] the common timestep
  Tensor y_, f_, dx_, df_, state_;  // of all images: AndersonArgs; x and eps are the result's
  FixedPoint result_;
};

}  // namespace

FixedPoint solve_step(const Denoiser& denoiser, const Chain& chain, int level, const Tensor& y,
                      const Tensor& guess, const FixedPointOptions& options) {
  return StepSolver(denoiser, chain, level, options).solve(y, guess);
}

}  // namespace diffscm
