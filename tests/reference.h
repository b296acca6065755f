// The double-precision reference: every operator but convolution, written as its contract reads, in
// plain loops. Slow on purpose and free of every trick that the kernels use, so that the two can
// only agree by being right. Group norm and attention are in the two headers included below.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

#include "kernels/operators.h"
#include "tests/reference_attention.h"
#include "tests/reference_group_norm.h"

namespace diffscm::kernels::reference {

using Doubles = std::vector<double>;

inline double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

inline Doubles silu(const Doubles& x) {
  Doubles y;
  for (const double v : x) y.push_back(v * sigmoid(v));
  return y;
}

inline Doubles silu_backward(const Doubles& x, const Doubles& dy) {
  Doubles dx;
  for (size_t i = 0; i < x.size(); ++i) {
    const double s = sigmoid(x[i]);
    dx.push_back(dy[i] * (s + x[i] * s * (1 - s)));
  }
  return dx;
}

// a [m, k], b [k, n] after opA and opB, c = a b + bias + residual.
struct Matrix {
  Doubles values;
  int64_t ld;
  bool transposed = false;
  double at(int64_t row, int64_t column) const {
    return values[static_cast<size_t>(transposed ? column * ld + row : row * ld + column)];
  }
};
inline Doubles matmul(int64_t m, int64_t n, int64_t k, const Matrix& a, const Matrix& b,
                      const Doubles& bias, const Matrix* residual) {
  Doubles c;
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = bias.empty() ? 0 : bias[static_cast<size_t>(j)];
      if (residual) sum += residual->at(i, j);
      for (int64_t l = 0; l < k; ++l) sum += a.at(i, l) * b.at(l, j);
      c.push_back(sum);
    }
  }
  return c;
}

inline Doubles column_sum(int64_t rows, int64_t columns, const Doubles& x) {
  Doubles y(static_cast<size_t>(columns));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) y[c] += x[r * columns + c];
  return y;
}

inline Doubles timestep_embedding(int64_t channels, const Doubles& t, bool last_frequency = false) {
  const int64_t half = channels / 2;
  Doubles emb;
  for (const double step : t) {
    for (int64_t i = 0; i < channels; ++i) {
      const int64_t j = last_frequency ? i / 2 : i % half, steps = last_frequency ? half - 1 : half;
      const double angle = step * std::pow(10000.0, -static_cast<double>(j) / steps);
      const bool cosine = last_frequency ? i % 2 == 0 : i < half;
      emb.push_back(cosine ? std::cos(angle) : std::sin(angle));
    }
  }
  return emb;
}

inline Doubles avg_pool(int64_t n, int64_t h, int64_t w, int64_t c, const Doubles& x) {
  const int64_t p = h / 2, q = w / 2;
  Doubles y(static_cast<size_t>(n * p * q * c));
  for (int64_t b = 0; b < n; ++b)
    for (int64_t i = 0; i < 2 * p; ++i)
      for (int64_t j = 0; j < 2 * q; ++j)
        for (int64_t k = 0; k < c; ++k)
          y[((b * p + i / 2) * q + j / 2) * c + k] += x[((b * h + i) * w + j) * c + k] / 4;
  return y;
}

inline Doubles avg_pool_backward(int64_t n, int64_t h, int64_t w, int64_t c, const Doubles& dy) {
  const int64_t p = h / 2, q = w / 2;
  Doubles dx(static_cast<size_t>(n * h * w * c));
  for (int64_t b = 0; b < n; ++b)
    for (int64_t i = 0; i < 2 * p; ++i)
      for (int64_t j = 0; j < 2 * q; ++j)
        for (int64_t k = 0; k < c; ++k)
          dx[((b * h + i) * w + j) * c + k] = dy[((b * p + i / 2) * q + j / 2) * c + k] / 4;
  return dx;
}

// y, and where each came from: the first of the largest in reading order.
struct MaxPool {
  Doubles y;
  std::vector<size_t> from;
};
inline MaxPool max_pool(int64_t n, int64_t h, int64_t w, int64_t c, const Doubles& x) {
  MaxPool result;
  for (int64_t b = 0; b < n; ++b)
    for (int64_t i = 0; i < h / 2; ++i)
      for (int64_t j = 0; j < w / 2; ++j)
        for (int64_t k = 0; k < c; ++k) {
          size_t best = 0;
          for (int64_t p = 0; p < 4; ++p) {
            const auto at =
                static_cast<size_t>(((b * h + 2 * i + p / 2) * w + 2 * j + p % 2) * c + k);
            if (p == 0 || x[at] > x[best]) best = at;
          }
          result.y.push_back(x[best]);
          result.from.push_back(best);
        }
  return result;
}

// z, then kl, as kernels/latent.h defines them.
struct GaussianLatent {
  Doubles z, kl;
};
inline GaussianLatent gaussian_latent(int64_t n, int64_t latent, const Doubles& posterior,
                                      const Doubles& noise) {
  GaussianLatent r;
  for (int64_t i = 0; i < n; ++i) {
    double kl = 0;
    for (int64_t l = 0; l < latent; ++l) {
      const double m = posterior[i * 2 * latent + l], v = posterior[(i * 2 + 1) * latent + l];
      kl += 0.5 * (m * m + std::exp(v) - 1 - v);
      r.z.push_back(m + std::exp(v / 2) * noise[i * latent + l]);
    }
    r.kl.push_back(kl);
  }
  return r;
}

inline Doubles pool_tokens(int64_t n, int64_t hw, int64_t c, const Doubles& x,
                           const Doubles& position) {
  Doubles y(static_cast<size_t>(n * (hw + 1) * c));
  for (int64_t b = 0; b < n; ++b) {
    for (int64_t t = 0; t <= hw; ++t) {
      for (int64_t k = 0; k < c; ++k) {
        double token = 0;
        if (t == 0)
          for (int64_t u = 0; u < hw; ++u) token += x[(b * hw + u) * c + k] / hw;
        else
          token = x[(b * hw + t - 1) * c + k];
        y[(b * (hw + 1) + t) * c + k] = token + position[t * c + k];
      }
    }
  }
  return y;
}

struct PoolTokensGradients {
  Doubles dx, dposition;
};
inline PoolTokensGradients pool_tokens_backward(int64_t n, int64_t hw, int64_t c,
                                                const Doubles& dy) {
  PoolTokensGradients g{Doubles(static_cast<size_t>(n * hw * c)),
                        Doubles(static_cast<size_t>((hw + 1) * c))};
  for (int64_t b = 0; b < n; ++b) {
    for (int64_t t = 0; t <= hw; ++t) {
      for (int64_t k = 0; k < c; ++k) {
        const double d = dy[(b * (hw + 1) + t) * c + k];
        g.dposition[t * c + k] += d;
        if (t > 0) g.dx[(b * hw + t - 1) * c + k] += d;
        if (t == 0)
          for (int64_t u = 0; u < hw; ++u) g.dx[(b * hw + u) * c + k] += d / hw;
      }
    }
  }
  return g;
}

struct Loss {
  Doubles loss, gradient;
};
inline Loss mse(int64_t n, int64_t elements, double weight, const Doubles& prediction,
                const Doubles& target) {
  Loss r{Doubles(static_cast<size_t>(n)), {}};
  for (int64_t i = 0; i < n * elements; ++i) {
    const double d = prediction[i] - target[i];
    r.loss[i / elements] += d * d / elements;
    r.gradient.push_back(2 * d * weight / elements);
  }
  return r;
}

// Nichol & Dhariwal 2021 in their own words: two Gaussians, and at t = 0 a level's share of one.
// `step` [N, 4] as kernels/variational_bound.h has it.
inline Loss variational_bound(int64_t n, int64_t elements, double weight, const Doubles& eps,
                              const Doubles& v, const Doubles& noise, const Doubles& x_t,
                              const Doubles& step) {
  const auto below = [](double z) { return 0.5 * std::erfc(-z / std::numbers::sqrt2); };
  const auto density = [](double z) {
    return std::exp(-z * z / 2) / std::sqrt(2 * std::numbers::pi);
  };
  Loss r{Doubles(static_cast<size_t>(n)), {}};
  for (int64_t i = 0; i < n * elements; ++i) {
    const int64_t b = i / elements;
    const double gap = step[4 * b], log_least = step[4 * b + 1], slope = step[4 * b + 2];
    const double log_most = log_least + gap, share = (v[i] + 1) / 2;
    const double log_variance = share * log_most + (1 - share) * log_least;
    const double apart = slope * (eps[i] - noise[i]);  // the true mean less the model's
    double nats, by_log_variance;
    if (step[4 * b + 3] == 0) {
      const double ratio = std::exp(log_least - log_variance),
                   squared = apart * apart * std::exp(-log_variance);
      nats = 0.5 * (-1 + log_variance - log_least + ratio + squared);
      by_log_variance = 0.5 * (1 - ratio - squared);
    } else {
      const double s = std::exp(log_variance / 2);
      const double x_0 = std::sqrt(1 + slope * slope) * x_t[i] - slope * noise[i];
      const double z0 = (apart - 1.0 / 255) / s, z1 = (apart + 1.0 / 255) / s;
      const bool first = x_0<-0.999, last = x_0> 0.999;
      const double p = first    ? below(z1)
                       : last   ? below(-z0)
                       : z0 > 0 ? below(-z0) - below(-z1)
                                : below(z1) - below(z0);
      nats = -std::log(std::max(p, 1e-12));
      by_log_variance =
          p <= 1e-12 ? 0 : ((last ? 0 : z1 * density(z1)) - (first ? 0 : z0 * density(z0))) / p / 2;
    }
    r.loss[b] += nats / std::numbers::ln2 / elements;
    r.gradient.push_back(weight * by_log_variance * gap / 2 / std::numbers::ln2 / elements);
  }
  return r;
}

struct LogSoftmax {
  Doubles log_p, probability, gradient;
};
inline LogSoftmax log_softmax(int64_t n, int64_t classes, double weight, const Doubles& logits,
                              const std::vector<int64_t>& label) {
  LogSoftmax r;
  for (int64_t b = 0; b < n; ++b) {
    const double* row = logits.data() + b * classes;
    const double highest = *std::max_element(row, row + classes);
    double sum = 0;
    for (int64_t k = 0; k < classes; ++k) sum += std::exp(row[k] - highest);
    r.log_p.push_back(row[label[b]] - highest - std::log(sum));
    for (int64_t k = 0; k < classes; ++k) {
      const double p = std::exp(row[k] - highest) / sum;
      r.probability.push_back(p);
      r.gradient.push_back(weight * ((k == label[b]) - p));
    }
  }
  return r;
}

// Number `e` of sample `sample`.
inline double normal(const RandomKey& key, uint64_t sample, int64_t e) {
  const Philox block = philox(key, sample, static_cast<uint32_t>(e / 4));
  const int pair = static_cast<int>(e % 4) / 2 * 2;
  const double u0 = uniform01(block.word[pair]), u1 = uniform01(block.word[pair + 1]);
  const double radius = std::sqrt(-2 * std::log(u0)), angle = 2 * std::numbers::pi * u1;
  return radius * (e % 2 == 0 ? std::cos(angle) : std::sin(angle));
}

struct DdimStep {
  double out, x0;
};
// One element; quantile is that of its sample. Null pointers are absent inputs.
inline DdimStep ddim(const DdimUpdateArgs& a, double x, double eps, const double* eps_uncond,
                     const double* gradient, const double* noise, double quantile) {
  const double root_a = std::sqrt(a.alpha_bar), noise_a = std::sqrt(1 - a.alpha_bar);
  if (eps_uncond) eps = *eps_uncond + a.condition_scale * (eps - *eps_uncond);
  double x0 = (x - noise_a * eps) / root_a;
  if (a.threshold != Threshold::none) {
    const double limit = a.threshold == Threshold::clip ? 1 : std::max(1.0, quantile);
    x0 = std::clamp(x0, -limit, limit) / limit;
    eps = (x - root_a * x0) / noise_a;
  }
  double out = 0;
  if (gradient) {
    eps -= a.guidance_scale * noise_a * *gradient;
    x0 = (x - noise_a * eps) / root_a;
    out += a.mean_shift * *gradient;
  }
  const double rest = 1 - a.alpha_bar_next - a.sigma * a.sigma;
  out += std::sqrt(a.alpha_bar_next) * x0 + std::sqrt(std::max(0.0, rest)) * eps;
  if (noise) out += a.sigma * *noise;
  return {out, x0};
}

inline double abs_quantile(Doubles values, double q) {
  for (double& v : values) v = std::abs(v);
  std::sort(values.begin(), values.end());
  const double position = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(std::floor(position));
  const size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (position - std::floor(position)) * (values[above] - values[below]);
}

struct AdamwState {
  double p, m, v, ema;
};
inline AdamwState adamw(const AdamwArgs& a, AdamwState s, double gradient) {
  const double g = gradient * a.gradient_scale, t = static_cast<double>(a.step);
  s.p *= 1 - a.lr * a.weight_decay;
  s.m = a.beta1 * s.m + (1 - a.beta1) * g;
  s.v = a.beta2 * s.v + (1 - a.beta2) * g * g;
  const double m_hat = s.m / (1 - std::pow(a.beta1, t));
  const double v_hat = s.v / (1 - std::pow(a.beta2, t));
  s.p -= a.lr * m_hat / (std::sqrt(v_hat) + a.eps);
  s.ema = a.ema_decay * s.ema + (1 - a.ema_decay) * s.p;
  return s;
}

}  // namespace diffscm::kernels::reference
