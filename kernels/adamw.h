// AdamW with an exponential moving average of the weights, one pass over a flat parameter arena.
#pragma once

#include <cstdint>

namespace diffscm::kernels {

// For each element, with step t = 1, 2, ...:
//   p *= 1 - lr * weight_decay
//   m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
//   p -= lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
//   ema = d ema + (1 - d) p
// `schedule` = {lr, 1 - b1^t, 1 - b2^t, d} in the target's memory overrides step, lr and ema_decay
// when it is not null: a recorded training step moves on at each replay.
// g is multiplied by gradient_scale first. Work: 5 reads and 4 writes per parameter.
// Source: Loshchilov & Hutter 2019, alg. 2 (decoupled decay, as torch.optim.AdamW).
struct AdamwArgs {
  int64_t n;
  int64_t step;
  double lr, beta1, beta2, eps, weight_decay, ema_decay, gradient_scale;
  const float* gradient;
  float* parameter;
  float* m;
  float* v;
  float* ema;                        // or null
  const double* schedule = nullptr;  // [4] or null
};
void check(const AdamwArgs&);

}  // namespace diffscm::kernels
