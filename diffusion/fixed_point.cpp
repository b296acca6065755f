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
// Everything is per image: coefficients, acceptance, stopping. Only the loop is shared.
#include "diffusion/fixed_point.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "diffusion/batch.h"

namespace diffscm {

namespace {

constexpr double kRegularisation = 1e-6;  // of a Gram matrix with unit diagonal, in f32 accuracy
constexpr double kRoundOff = 0x1p-23;     // of x, whose RMS is near 1 where A is large
constexpr int kPatience = 40;             // evaluations granted for ...
constexpr int kTrust = 6;                 // refusals in a row that leave the secants believed
constexpr double kWorthwhile = 0.9;       // ... the residual to fall by this factor

struct ImageState {
  double residual = std::numeric_limits<double>::infinity();  // of the best iterate, grey levels
  double damping = 1;
  double reach = 0;  // longest step allowed, RMS
  int refusals = 0;  // in a row
  int evaluations = 1;
  int milestone_evaluations = 1;  // when the residual last fell by kWorthwhile
  double milestone_residual = std::numeric_limits<double>::infinity();
  std::vector<double> gram;      // [memory, memory] <dF_i, dF_j>
  std::vector<double> explains;  // [memory] <dF_j, F>
};

// argmin |F - sum gamma_j dF_j|^2 by regularised normal equations on unit columns (Cholesky,
// double). Columns that are zero or not finite get gamma = 0.
std::vector<double> least_squares(const std::vector<double>& gram, const std::vector<double>& rhs,
                                  int columns, int stride) {
  std::vector<double> gamma(static_cast<size_t>(columns), 0.0);
  std::vector<int> used;
  for (int j = 0; j < columns; ++j) {
    const double d = gram[static_cast<size_t>(j * stride + j)];
    if (d > 0 && std::isfinite(d)) used.push_back(j);
  }
  const size_t n = used.size();
  std::vector<double> lower(n * n), scale(n), z(n);
  for (size_t i = 0; i < n; ++i)
    scale[i] = 1 / std::sqrt(gram[static_cast<size_t>(used[i] * stride + used[i])]);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j <= i; ++j) {
      double sum = gram[static_cast<size_t>(used[i] * stride + used[j])] * scale[i] * scale[j];
      if (i == j) sum = 1 + kRegularisation;
      for (size_t k = 0; k < j; ++k) sum -= lower[i * n + k] * lower[j * n + k];
      // Rounding of the f32 inner products may leave a pivot that means nothing.
      lower[i * n + j] =
          i == j ? std::sqrt(std::max(sum, kRegularisation)) : sum / lower[j * n + j];
    }
    z[i] = rhs[static_cast<size_t>(used[i])] * scale[i];
    for (size_t k = 0; k < i; ++k) z[i] -= lower[i * n + k] * z[k];
    z[i] /= lower[i * n + i];
  }
  for (size_t i = n; i-- > 0;) {
    for (size_t k = i + 1; k < n; ++k) z[i] -= lower[k * n + i] * z[k];
    z[i] /= lower[i * n + i];
    if (std::isfinite(z[i])) gamma[static_cast<size_t>(used[i])] = z[i] * scale[i];
  }
  return gamma;
}

class StepSolver {
 public:
  StepSolver(const EpsilonModel& epsilon, const Chain& chain, int level,
             const FixedPointOptions& options)
      : epsilon_(epsilon), chain_(chain), level_(level), options_(options) {
    const double a = chain.alpha_bar(level);
    plain_ = std::sqrt(a / chain.alpha_bar(level - 1));
    longest_ = std::sqrt(1 - a);
    tolerance_ = std::max(options.tolerance, kGreyLevels * kRoundOff / plain_);
  }

  FixedPoint solve(const Tensor& y, const Tensor& guess) {
    const int64_t n = y.dim(0);
    elements_ = static_cast<double>(y.numel() / n);
    result_.x = guess.clone();
    result_.eps = Tensor::zeros(y.shape(), y.target());
    result_.residual.assign(static_cast<size_t>(n), std::numeric_limits<float>::infinity());
    result_.converged.assign(static_cast<size_t>(n), 0);
    result_.evaluations.assign(static_cast<size_t>(n), 1);
    start(y, guess);
    while (!rows_.empty()) {
      const Tensor step = propose();
      judge(combine(1, x_, 1, step), step);
      retire();
    }
    return std::move(result_);
  }

 private:
  // F at x, leaving the network's answer in eps.
  Tensor residual_at(const Tensor& x, Tensor& eps) const {
    eps = predict_noise(epsilon_, x, chain_.timestep(level_));
    return combine(1, y_, -1, transfer(chain_, level_, level_ - 1, x, eps));
  }
  double grey_levels(double square) const { return kGreyLevels * std::sqrt(square / elements_); }

  void start(const Tensor& y, const Tensor& guess) {
    rows_.resize(static_cast<size_t>(y.dim(0)));
    std::iota(rows_.begin(), rows_.end(), int64_t{0});
    images_.assign(rows_.size(), ImageState{});
    y_ = y;
    x_ = guess;
    f_ = residual_at(x_, eps_);
    const TensorPair pair{f_, f_};
    const auto square = sample_dots({&pair, 1})[0];
    const auto memory = static_cast<size_t>(options_.memory);
    for (size_t i = 0; i < images_.size(); ++i) {
      ImageState& image = images_[i];
      if (std::isfinite(square[i])) image.residual = grey_levels(square[i]);
      image.milestone_residual = image.residual;
      image.reach = longest_;
      image.gram.assign(memory * memory, 0.0);
      image.explains.assign(memory, 0.0);
    }
    retire();
  }

  // The next step of each image, from its best iterate.
  Tensor propose() {
    const size_t n = images_.size();
    const int columns = static_cast<int>(df_.size());
    std::vector<float> one(n, 1.0f), mixing(n);
    std::vector<std::vector<double>> gamma(n);
    for (size_t i = 0; i < n; ++i) {
      const ImageState& image = images_[i];
      mixing[i] = static_cast<float>(image.damping * plain_);
      if (image.refusals < kTrust)
        gamma[i] = least_squares(image.gram, image.explains, columns, options_.memory);
      else
        gamma[i].assign(static_cast<size_t>(columns), 0.0);
    }
    const std::vector<float> nothing(n, 0.0f);
    Tensor step = combine(mixing, f_, nothing, f_);
    for (size_t j = 0; j < df_.size(); ++j) {
      std::vector<float> along(n), residual(n);
      for (size_t i = 0; i < n; ++i) {
        along[i] = static_cast<float>(-gamma[i][j]);
        residual[i] = static_cast<float>(-gamma[i][j] * mixing[i]);
      }
      step = combine(one, step, along, dx_[j]);
      step = combine(one, step, residual, df_[j]);
    }
    const TensorPair pair{step, step};
    const auto square = sample_dots({&pair, 1})[0];
    std::vector<float> shorten(n);
    for (size_t i = 0; i < n; ++i) {
      const double length = std::sqrt(square[i] / elements_);
      shorten[i] = length > images_[i].reach ? static_cast<float>(images_[i].reach / length) : 1.0f;
      length_.resize(n);
      length_[i] = std::min(length, images_[i].reach);
    }
    return combine(shorten, step, nothing, step);
  }

  // Evaluates the trial, learns its secant, and makes it the best iterate of the images it
  // improves.
  void judge(Tensor trial, Tensor step) {
    const size_t n = images_.size();
    Tensor eps;
    Tensor f = residual_at(trial, eps);
    const TensorPair pair{f, f};
    const auto square = sample_dots({&pair, 1})[0];
    std::vector<float> take(n, 0.0f), keep(n, 1.0f);
    for (size_t i = 0; i < n; ++i) {
      ImageState& image = images_[i];
      ++image.evaluations;
      const double residual = std::isfinite(square[i]) ? grey_levels(square[i])
                                                       : std::numeric_limits<double>::infinity();
      if (!std::isfinite(residual)) replace_with_best(i, trial, f, eps, step);
      if (residual < image.residual) {
        image.residual = residual;
        image.damping = std::min(1.0, 2 * image.damping);
        image.reach = std::min(longest_, std::max(image.reach, 2 * length_[i]));
        image.refusals = 0;
        take[i] = 1;
        keep[i] = 0;
      } else {
        image.damping /= 2;
        image.reach = length_[i] / 2;
        ++image.refusals;
      }
      if (image.residual < kWorthwhile * image.milestone_residual) {
        image.milestone_residual = image.residual;
        image.milestone_evaluations = image.evaluations;
      }
    }
    learn(std::move(step), combine(1, f, -1, f_));
    x_ = combine(keep, x_, take, trial);
    f_ = combine(keep, f_, take, f);
    eps_ = combine(keep, eps_, take, eps);
    measure();
  }

  // An answer that is not finite must not reach arithmetic that is shared by later iterations.
  void replace_with_best(size_t i, Tensor& trial, Tensor& f, Tensor& eps, Tensor& step) const {
    const auto row = static_cast<int64_t>(i);
    trial.slice(row, row + 1).copy_from(x_.slice(row, row + 1));
    f.slice(row, row + 1).copy_from(f_.slice(row, row + 1));
    eps = eps.clone();  // the network may still hold its own answer
    eps.slice(row, row + 1).copy_from(eps_.slice(row, row + 1));
    const Tensor still = Tensor::zeros(step.slice(row, row + 1).shape(), step.target());
    step.slice(row, row + 1).copy_from(still);
  }

  void learn(Tensor dx, Tensor df) {
    if (options_.memory == 0) return;
    const auto memory = static_cast<size_t>(options_.memory);
    newest_ = secants_seen_++ % memory;
    if (newest_ == dx_.size()) {
      dx_.push_back(std::move(dx));
      df_.push_back(std::move(df));
    } else {
      dx_[newest_] = std::move(dx);
      df_[newest_] = std::move(df);
    }
  }

  // Inner products of the newest secant with all, and of all with the residual of the best iterate.
  void measure() {
    if (df_.empty()) return;
    std::vector<TensorPair> pairs;
    for (const Tensor& df : df_) pairs.emplace_back(df_[newest_], df);
    for (const Tensor& df : df_) pairs.emplace_back(df, f_);
    const auto dots = sample_dots(pairs);
    const size_t columns = df_.size(), memory = static_cast<size_t>(options_.memory);
    for (size_t i = 0; i < images_.size(); ++i)
      for (size_t j = 0; j < columns; ++j) {
        images_[i].gram[newest_ * memory + j] = images_[i].gram[j * memory + newest_] = dots[j][i];
        images_[i].explains[j] = dots[columns + j][i];
      }
  }

  bool finished(const ImageState& image) const {
    return image.residual <= tolerance_ || !std::isfinite(image.residual) ||
           image.evaluations >= options_.max_iterations ||
           image.evaluations - image.milestone_evaluations >= kPatience;
  }

  // Hands over the images that are done and closes the ranks, so that no evaluation is spent on
  // them.
  void retire() {
    std::vector<int64_t> done, stay, done_rows, stay_rows;
    std::vector<ImageState> stay_images;
    for (size_t i = 0; i < images_.size(); ++i) {
      ImageState& image = images_[i];
      const auto row = static_cast<size_t>(rows_[i]);
      if (finished(image)) {
        result_.residual[row] = static_cast<float>(image.residual);
        result_.converged[row] = image.residual <= tolerance_;
        result_.evaluations[row] = image.evaluations;
        // Without one finite answer the guess and a zero eps, put there at the start, stand.
        if (std::isfinite(image.residual)) {
          done.push_back(static_cast<int64_t>(i));
          done_rows.push_back(rows_[i]);
        }
      } else {
        stay.push_back(static_cast<int64_t>(i));
        stay_rows.push_back(rows_[i]);
        stay_images.push_back(std::move(image));
      }
    }
    if (stay.size() < images_.size()) {
      scatter(gather(x_, done), done_rows, result_.x);
      scatter(gather(eps_, done), done_rows, result_.eps);
      if (!stay.empty()) {
        for (Tensor* t : {&y_, &x_, &f_, &eps_}) *t = gather(*t, stay);
        for (Tensor& t : dx_) t = gather(t, stay);
        for (Tensor& t : df_) t = gather(t, stay);
      }
    }
    rows_ = std::move(stay_rows);
    images_ = std::move(stay_images);
  }

  const EpsilonModel& epsilon_;
  const Chain& chain_;
  const int level_;
  const FixedPointOptions options_;
  double plain_ = 1;  // 1 / A: what a plain step makes of a residual
  double longest_ =
      1;  // RMS of the noise at this level: a longer step would leave the distribution
  double tolerance_ = 0;
  double elements_ = 1;  // per image

  // Images still being solved, in the same order everywhere.
  std::vector<int64_t> rows_;  // their places in the batch
  std::vector<ImageState> images_;
  Tensor y_, x_, f_, eps_;       // target; best iterate, its residual and the network's answer
  std::vector<Tensor> dx_, df_;  // secants, a ring
  std::vector<double> length_;   // RMS of the step just proposed
  size_t secants_seen_ = 0, newest_ = 0;
  FixedPoint result_;
};

}  // namespace

FixedPoint solve_step(const EpsilonModel& epsilon, const Chain& chain, int level, const Tensor& y,
                      const Tensor& guess, const FixedPointOptions& options) {
  return StepSolver(epsilon, chain, level, options).solve(y, guess);
}

}  // namespace diffscm
