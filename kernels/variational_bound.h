// What one step of the chain costs: the term of the variational bound that teaches a network the
// variance of its steps (Nichol & Dhariwal 2021, sections 2.1 and 3.1).
#pragma once

#include <cstdint>

namespace diffscm::kernels {

// What the term needs of its timestep t, with beta~_t the posterior's variance (at t = 0, where
// that is 0, the one of t = 1, as in guided-diffusion).
struct BoundStep {
  float gap;        // log beta_t - log beta~_t
  float log_least;  // log beta~_t
  float slope;      // of the step's mean in eps: beta_t / sqrt((1 - beta_t) (1 - alpha_bar_t))
  float last;       // 1 at t = 0, whose step ends at the image; else 0
};

// loss[n], in bits per number, is the mean over e of
//   t > 0   the divergence from q(x_{t-1} | x_t, x_0) to p(x_{t-1} | x_t),
//           1/2 (u - 1 + exp(-u) (1 + (slope (eps - noise))^2 exp(-log_least))) / ln 2
//   t = 0   -log2 of what p gives to the level, one of 256 in [-1, 1], that x_0 is on,
//           -log2 (Phi((c + 1/255) / s) - Phi((c - 1/255) / s)),  c = slope (eps - noise)
// with u = (v + 1) / 2 gap, log s^2 = log_least + u (eq. 15). Beyond |x_0| = 0.999 a level has no
// outer end; a probability below 1e-12 counts as that. x_0 follows from x_t and noise.
//   gradient = weight * d loss[n] / dv, where weight is the derivative of the total with respect to
// loss[n]; may be null. There is none with respect to eps: the paper holds the mean constant, so
// that its squared error alone moves it. All in double, sums in a fixed order.
struct VariationalBoundArgs {
  int64_t n, elements;
  float weight;
  const float* eps;    // [N, elements]: estimated
  const float* v;      // [N, elements]
  const float* noise;  // [N, elements]: the truth
  const float* x_t;    // [N, elements]
  const float* step;   // [N, 4]: a BoundStep each
  float* loss;         // [N]
  float* gradient;     // [N, elements] or null
};
void check(const VariationalBoundArgs&);

}  // namespace diffscm::kernels
