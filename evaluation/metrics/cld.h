// CLD, the Counterfactual Latent Divergence (Sanchez & Tsaftaris 2022, "Diffusion causal models for
// counterfactual estimation", section 4): is the counterfactual as far from the factual as it must
// be to change class, and no further?
//
//   D(i, j) = KL(N(mu_i, sigma_i) || N(mu_j, sigma_j))     posteriors of a variational autoencoder
//   div     = D(x_CF, x_F)
//   S_c     = { D(x, x_F) : (x, y) in the reference set, y = c }
//   CLD     = log(exp P(S_CF <= div) + exp P(S_F >= div))
// where P are empirical probabilities, CF is the target class and F the factual one. Lower is
// better. Range [ln 2, 1 + ln 2] = [0.693, 1.693]; an image that did not change has div = 0 and
// CLD = log(1 + e) = 1.3133.
#pragma once

#include <vector>

#include "data/dataset.h"
#include "evaluation/metrics/images.h"
#include "models/vae.h"

namespace diffscm {

// Diagonal Gaussians, one per row.
struct Gaussians {
  Matrix mean, log_variance;
};
Gaussians posteriors(const Vae& vae, const Tensor& images);

// KL(N(mean_p, exp(log_variance_p)) || N(mean_q, exp(log_variance_q))) of diagonal Gaussians, in
// nats: 1/2 sum (log s_q^2 - log s_p^2 + (s_p^2 + (m_p - m_q)^2) / s_q^2 - 1). Range [0, inf).
double gaussian_kl(std::span<const double> mean_p, std::span<const double> log_variance_p,
                   std::span<const double> mean_q, std::span<const double> log_variance_q);

// D(x, factual) of every row x of `set`, to a factual with this posterior.
std::vector<double> divergences(const Gaussians& set, std::span<const double> mean,
                                std::span<const double> log_variance);

// Shares of `sample` that are <= value and >= value: what equals the value counts in both. Throws
// Error for an empty sample.
double share_at_most(std::span<const double> sample, double value);
double share_at_least(std::span<const double> sample, double value);

// From the two empirical probabilities.
double latent_divergence(double p_target_at_most, double p_factual_at_least);

struct Cld {
  double value = 0;
  double divergence = 0;  // div, nats
  double p_target = 0;    // P(S_CF <= div)
  double p_factual = 0;   // P(S_F >= div)
};

// The reference set, encoded once, by class.
class CldReference {
 public:
  // `per_class`: the first so many images of each class; 0: all. Throws Error when there are no
  // labels, a class has no image, or the images do not fit the VAE.
  CldReference(const Vae& vae, const data::Dataset& dataset, int64_t per_class, Target target);

  int64_t classes() const { return static_cast<int64_t>(by_class_.size()); }
  int64_t size(int64_t label) const { return by_class_[static_cast<size_t>(label)].mean.rows; }

  // Row i of `counterfactual` against row i of `factual`.
  std::vector<Cld> score(const Gaussians& factual, const Gaussians& counterfactual,
                         std::span<const int64_t> factual_class,
                         std::span<const int64_t> target_class) const;

 private:
  std::vector<Gaussians> by_class_;
};

}  // namespace diffscm
