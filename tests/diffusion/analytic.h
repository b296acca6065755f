// Worlds whose noise predictor is known in closed form, so that every causal procedure can be
// tested without training. Computed in double on the host, rounded to f32 once.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "diffusion/epsilon.h"
#include "diffusion/noise_schedule.h"

namespace diffscm::analytic {

// These images are too small to be worth waking a second thread.
inline const bool kOneThread = (set_threads(1), true);

// Applies row(x [elements], out [elements]) to each image of a batch.
template <class Row>
Tensor per_image(const Tensor& x, Row&& row) {
  const std::vector<float> in = x.to_vector();
  std::vector<float> out(in.size());
  const auto n = static_cast<size_t>(x.dim(0)), elements = in.size() / n;
  for (size_t i = 0; i < n; ++i)
    row(std::span<const float>(in).subspan(i * elements, elements),
        std::span<float>(out).subspan(i * elements, elements));
  return Tensor::from(out, x.shape());
}

// The same where the row also needs its timestep: row(x, timestep, out).
template <class Row>
Tensor per_image(const Tensor& x, const Tensor& t, Row&& row) {
  const std::vector<float> timesteps = t.to_vector();
  return per_image(x, [&, n = size_t{0}](std::span<const float> in, std::span<float> out) mutable {
    row(in, static_cast<int>(timesteps[n++]), out);
  });
}

// Mixture of Gaussians with equal weights: component k is N(mean[k], diag(variance)). One
// component: a plain Gaussian. variance 0: data that are memorised points.
struct Mixture {
  std::vector<std::vector<double>> mean;  // [K][elements]
  std::vector<double> variance;           // [elements]

  // log of component k's weight in x at alpha_bar a, up to a constant.
  double log_weight(size_t k, std::span<const float> x, double a) const {
    double sum = 0;
    for (size_t e = 0; e < x.size(); ++e) {
      const double d = x[e] - std::sqrt(a) * mean[k][e];
      sum -= 0.5 * d * d / (a * variance[e] + 1 - a);
    }
    return sum;
  }
  std::vector<double> posterior(std::span<const float> x, double a) const {
    std::vector<double> p(mean.size());
    double top = -INFINITY, total = 0;
    for (size_t k = 0; k < p.size(); ++k) top = std::max(top, p[k] = log_weight(k, x, a));
    for (double& v : p) total += v = std::exp(v - top);
    for (double& v : p) v /= total;
    return p;
  }
  // grad_x log p(x), optionally of component k alone.
  void score(std::span<const float> x, double a, std::span<double> out, int only = -1) const {
    std::vector<double> p(mean.size(), 0.0);
    if (only >= 0) {
      p[static_cast<size_t>(only)] = 1;
    } else {
      p = posterior(x, a);
    }
    for (size_t e = 0; e < x.size(); ++e) {
      double centre = 0;
      for (size_t k = 0; k < p.size(); ++k) centre += p[k] * mean[k][e];
      out[e] = (std::sqrt(a) * centre - x[e]) / (a * variance[e] + 1 - a);
    }
  }
};

// eps(x_t, t) = -sqrt(1 - alpha_bar) grad log p(x_t); `count`, if given, counts images evaluated.
inline EpsilonModel epsilon_of(Mixture world, const NoiseSchedule& schedule, int only = -1,
                               std::shared_ptr<int64_t> count = nullptr) {
  return [world = std::move(world), schedule, only, count](const Tensor& x, const Tensor& t) {
    if (count) *count += x.dim(0);
    std::vector<double> score(static_cast<size_t>(x.numel() / x.dim(0)));
    return per_image(x, t, [&](std::span<const float> in, int timestep, std::span<float> out) {
      const double a = schedule.alpha_bar(timestep);
      world.score(in, a, score, only);
      for (size_t e = 0; e < out.size(); ++e)
        out[e] = static_cast<float>(-std::sqrt(1 - a) * score[e]);
    });
  };
}

// A network that is told the component: eps(x_t, t | component), with -1 for "not told".
inline EpsilonModel::Network conditional_network(Mixture world, const NoiseSchedule& schedule) {
  return std::make_shared<const EpsilonModel::Body>(
      [world = std::move(world), schedule](const Tensor& x, const Tensor& t,
                                           const EpsilonModel::Bound& bound) {
        std::vector<double> score(static_cast<size_t>(x.numel() / x.dim(0)));
        const std::vector<float> component = bound[0].to_vector();
        size_t n = 0;
        return per_image(x, t, [&](std::span<const float> in, int timestep, std::span<float> out) {
          const double a = schedule.alpha_bar(timestep);
          world.score(in, a, score, static_cast<int>(component[n++]));
          for (size_t e = 0; e < out.size(); ++e)
            out[e] = static_cast<float>(-std::sqrt(1 - a) * score[e]);
        });
      });
}
inline EpsilonModel told(EpsilonModel::Network network, const std::vector<float>& component) {
  const Tensor bound = Tensor::from(component, {static_cast<int64_t>(component.size())});
  return {std::move(network), {bound}};
}

// grad log p(component | x_t), by Bayes' rule, with one component per image.
inline GuidanceGradient posterior_gradient(Mixture world, const NoiseSchedule& schedule,
                                           const std::vector<int64_t>& components) {
  const Tensor wanted = Tensor::from(components, {static_cast<int64_t>(components.size())});
  const auto f = [world = std::move(world), schedule](const Tensor& x, const Tensor& t,
                                                      const GuidanceGradient::Bound& bound) {
    const auto elements = static_cast<size_t>(x.numel() / x.dim(0));
    std::vector<double> joint(elements), marginal(elements);
    const int64_t* component = bound[0].data_i64();
    return per_image(x, t, [&](std::span<const float> in, int timestep, std::span<float> out) {
      const double a = schedule.alpha_bar(timestep);
      world.score(in, a, joint, static_cast<int>(*component++));
      world.score(in, a, marginal);
      for (size_t e = 0; e < out.size(); ++e) out[e] = static_cast<float>(joint[e] - marginal[e]);
    });
  };
  return {GuidanceGradient::Body(f), {wanted}};
}

inline Mixture gaussian(double mean, double deviation, size_t elements) {
  return {{std::vector<double>(elements, mean)},
          std::vector<double>(elements, deviation * deviation)};
}

// RMS difference of image n of two batches, in grey levels.
inline double grey_levels(const Tensor& x, const Tensor& y, int64_t n) {
  const std::vector<float> a = x.slice(n, n + 1).to_vector(), b = y.slice(n, n + 1).to_vector();
  double sum = 0;
  for (size_t e = 0; e < a.size(); ++e) sum += (double{a[e]} - b[e]) * (double{a[e]} - b[e]);
  return 127.5 * std::sqrt(sum / static_cast<double>(a.size()));
}
inline double worst_grey_levels(const Tensor& x, const Tensor& y) {
  double worst = 0;
  for (int64_t n = 0; n < x.dim(0); ++n) {
    const double d = grey_levels(x, y, n);
    if (!(d <= worst)) worst = d;  // NaN is the worst
  }
  return worst;
}

}  // namespace diffscm::analytic
