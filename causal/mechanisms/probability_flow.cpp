#include "causal/mechanisms/probability_flow.h"

#include <array>
#include <vector>

#include "kernels/error.h"

namespace diffscm::causal {

void integrate_flow(const Velocity& velocity, double from, double to, int steps,
                    std::span<double> x, std::span<double> log_derivative) {
  require(steps >= 1, "a flow of {} steps: give 1 or more", steps);
  const size_t n = x.size();
  const double h = (to - from) / steps;
  constexpr std::array<double, 4> kAt{0, 0.5, 0.5, 1}, kWeight{1 / 6., 1 / 3., 1 / 3., 1 / 6.};
  std::vector<double> at(n), v(n), slope(log_derivative.size()), sum(n);
  for (int step = 0; step < steps; ++step) {
    std::fill(sum.begin(), sum.end(), 0.0);
    for (size_t stage = 0; stage < kAt.size(); ++stage) {
      for (size_t i = 0; i < n; ++i) at[i] = x[i] + (stage == 0 ? 0 : h * kAt[stage] * v[i]);
      velocity(from + h * (step + kAt[stage]), at, v, slope);
      for (size_t i = 0; i < n; ++i) sum[i] += kWeight[stage] * v[i];
      for (size_t i = 0; i < slope.size(); ++i) log_derivative[i] += h * kWeight[stage] * slope[i];
    }
    for (size_t i = 0; i < n; ++i) x[i] += h * sum[i];
  }
}

}  // namespace diffscm::causal
