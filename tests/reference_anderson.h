// Safeguarded Anderson acceleration in double, for one image, as kernels/anderson.h describes it:
// every secant is kept as it is, and the combination is found by elimination with pivots.
#pragma once

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "kernels/anderson.h"

namespace diffscm::kernels::reference {

class Anderson {
 public:
  using Vector = std::vector<double>;
  struct Secant {
    Vector dx, df;
  };

  Anderson(const AndersonArgs& args, Vector y, Vector guess)
      : args_(args), y_(std::move(y)), x(guess), trial(std::move(guess)) {}

  // What follows from where the step leads from the trial.
  void iterate(const Vector& below, const Vector& eps_trial) {
    if (finished) return;
    Vector now(y_.size());
    for (size_t e = 0; e < now.size(); ++e) now[e] = y_[e] - below[e];
    const double size = rms(now);
    const bool finite = std::isfinite(size), first = evaluations == 0;
    ++evaluations;
    const bool best = finite && (first || size < residual);
    if (first) {
      milestone = residual = size;
      milestone_at = 1;
      reach = args_.longest;
    } else {
      secants.push_back({step, Vector(now.size())});
      for (size_t e = 0; e < now.size(); ++e)
        finite ? secants.back().df[e] = now[e] - f[e] : secants.back().dx[e] = 0;
      if (secants.size() > static_cast<size_t>(args_.memory)) secants.erase(secants.begin());
      damping = best ? std::min(1.0, 2 * damping) : damping / 2;
      reach = best ? std::min(args_.longest, std::max(reach, 2 * rms(step))) : rms(step) / 2;
      refusals = best ? 0 : refusals + 1;
    }
    if (best) {
      residual = size;
      x = trial;
      f = now;
      eps = eps_trial;
    }
    if (!first && residual < 0.9 * milestone) {
      milestone = residual;
      milestone_at = evaluations;
    }
    finished = !std::isfinite(residual) || residual <= args_.tolerance ||
               evaluations >= args_.evaluations_most || evaluations - milestone_at >= 40;
    trial = x;
    if (!finished) propose();
  }

  double residual = 0, damping = 1, reach = 0, milestone = 0;
  int64_t evaluations = 0, milestone_at = 0, refusals = 0;
  bool finished = false;

 private:
  static double dot(const Vector& a, const Vector& b) {
    double sum = 0;
    for (size_t e = 0; e < a.size(); ++e) sum += a[e] * b[e];
    return sum;
  }
  static double rms(const Vector& a) {
    return std::sqrt(dot(a, a) / static_cast<double>(a.size()));
  }

  // Rows of unit secants' Gram matrix, 1e-6 on its diagonal, with the right-hand side behind them.
  Vector combination() const {
    std::vector<const Secant*> used;
    for (const Secant& s : secants)
      if (refusals < 6 && dot(s.df, s.df) > 0) used.push_back(&s);
    const size_t n = used.size();
    std::vector<Vector> rows(n, Vector(n + 1));
    for (size_t i = 0; i < n; ++i) {
      const double length = std::sqrt(dot(used[i]->df, used[i]->df));
      for (size_t j = 0; j < n; ++j)
        rows[i][j] =
            dot(used[i]->df, used[j]->df) / length / std::sqrt(dot(used[j]->df, used[j]->df)) +
            (i == j ? 1e-6 : 0);
      rows[i][n] = dot(used[i]->df, f) / length;
    }
    for (size_t k = 0; k < n; ++k) {
      size_t pivot = k;
      for (size_t i = k + 1; i < n; ++i)
        if (std::abs(rows[i][k]) > std::abs(rows[pivot][k])) pivot = i;
      std::swap(rows[k], rows[pivot]);
      for (size_t i = 0; i < n; ++i) {
        if (i == k) continue;
        const double factor = rows[i][k] / rows[k][k];
        for (size_t j = k; j <= n; ++j) rows[i][j] -= factor * rows[k][j];
      }
    }
    Vector gamma;
    for (size_t i = 0; const Secant& s : secants) {
      const bool is_used = i < n && used[i] == &s;
      gamma.push_back(is_used ? rows[i][n] / rows[i][i] / std::sqrt(dot(s.df, s.df)) : 0);
      if (is_used) ++i;
    }
    return gamma;
  }

  void propose() {
    const Vector gamma = combination();
    const double b = damping * args_.plain;
    step.assign(f.size(), 0);
    for (size_t e = 0; e < f.size(); ++e) {
      step[e] = b * f[e];
      for (size_t j = 0; j < secants.size(); ++j)
        step[e] -= gamma[j] * (secants[j].dx[e] + b * secants[j].df[e]);
    }
    const double factor = std::min(1.0, reach / std::max(rms(step), 1e-300));
    for (size_t e = 0; e < f.size(); ++e) trial[e] = x[e] + (step[e] *= factor);
  }

  AndersonArgs args_;
  Vector y_;

 public:
  Vector x, f, eps, trial, step;
  std::vector<Secant> secants;
};

}  // namespace diffscm::kernels::reference
