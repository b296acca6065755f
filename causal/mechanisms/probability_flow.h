// The probability flow of one number: the ordinary differential equation that carries a data point
// to its noise and back (Song et al. 2021), along half a turn.
#pragma once

#include <functional>
#include <span>

namespace diffscm::causal {

// x_theta = cos(theta) x_0 + sin(theta) eps, theta from 0 (data) to pi / 2 (noise): a variance
// preserving process with alpha_bar = cos^2(theta) whose flow is dx / dtheta = v(x, theta) =
// E[cos(theta) eps - sin(theta) x_0 | x_theta = x] (v of Salimans & Ho 2022), regular at both ends.
inline constexpr double kPureNoise = 1.5707963267948966;

// Fills v of each row, and dv / dx where `slope` is not empty.
using Velocity = std::function<void(double theta, std::span<const double> x, std::span<double> v,
                                    std::span<double> slope)>;

// Carries x from one theta to another by the classical Runge-Kutta method in `steps` equal steps;
// adds the integral of dv / dx, that is log |dx(to) / dx(from)|, to `log_derivative` where it is
// not empty. Rows do not influence each other.
void integrate_flow(const Velocity& velocity, double from, double to, int steps,
                    std::span<double> x, std::span<double> log_derivative = {});

}  // namespace diffscm::causal
