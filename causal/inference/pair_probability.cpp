#include "causal/inference/pair_probability.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/error.h"

namespace diffscm::causal {
namespace {

double overlap(std::span<const double> p, std::span<const double> q, size_t i, size_t j) {
  const double p_begin =
      std::accumulate(p.begin(), p.begin() + static_cast<std::ptrdiff_t>(i), 0.0);
  const double q_begin =
      std::accumulate(q.begin(), q.begin() + static_cast<std::ptrdiff_t>(j), 0.0);
  // The last state reaches to 1, whatever rounding made of the sum.
  const double p_end = i + 1 == p.size() ? 1 : p_begin + p[i];
  const double q_end = j + 1 == q.size() ? 1 : q_begin + q[j];
  return std::max(0.0, std::min(p_end, q_end) - std::max(p_begin, q_begin));
}

double gumbel_pair(std::span<const double> p, std::span<const double> q, size_t i, size_t j) {
  if (i == j) {
    double sum = 0;
    for (size_t k = 0; k < p.size(); ++k) sum += std::max(p[k] / p[i], q[k] / q[i]);
    return 1 / sum;
  }
  // t = b / a in homogeneous coordinates, since q_i = 0 puts its end at infinity:
  // S(a, b) = a + b + sum_k max(a p_k / p_i, b q_k / q_j).
  const auto weight = [&](double a, double b) {
    double sum = a + b;
    for (size_t k = 0; k < p.size(); ++k)
      if (k != i && k != j) sum += std::max(a * p[k] / p[i], b * q[k] / q[j]);
    return sum;
  };
  // Directions (a, b) between t = p_j / p_i, which is (p_i, p_j), and t = q_j / q_i: (q_i, q_j).
  struct Direction {
    double a, b;
    bool before(const Direction& other) const { return b * other.a < other.b * a; }
  };
  const Direction first{p[i], p[j]}, last{q[i], q[j]};
  if (!first.before(last)) return 0;
  std::vector<Direction> bends = {first};
  for (size_t k = 0; k < p.size(); ++k) {
    if (k == i || k == j || (p[k] == 0 && q[k] == 0)) continue;
    const Direction bend{p[i] * q[k], p[k] * q[j]};
    if (first.before(bend) && bend.before(last)) bends.push_back(bend);
  }
  std::ranges::sort(bends, [](const Direction& x, const Direction& y) { return x.before(y); });
  bends.push_back(last);
  // Between bends S is linear: the integral over (a1, b1) to (a2, b2) of dt / S^2 is
  // (a1 b2 - a2 b1) / (S(a1, b1) S(a2, b2)).
  double total = 0;
  for (size_t n = 0; n + 1 < bends.size(); ++n) {
    const Direction &x = bends[n], &y = bends[n + 1];
    total += (x.a * y.b - y.a * x.b) / (weight(x.a, x.b) * weight(y.a, y.b));
  }
  return total;
}

}  // namespace

double pair_probability(Coupling coupling, std::span<const double> p, std::span<const double> q,
                        size_t i, size_t j) {
  require(coupling != Coupling::unknown, "a mechanism whose noise is not known in closed form");
  if (p[i] == 0 || q[j] == 0) return 0;
  return coupling == Coupling::inverse_cdf || p.size() == 2 ? overlap(p, q, i, j)
                                                            : gumbel_pair(p, q, i, j);
}

}  // namespace diffscm::causal
