// Double-precision group normalisation, forward and backward, group by group as the paper has it.
#pragma once

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/operators.h"

namespace diffscm::kernels::reference {

// The concatenated input and everything else, in double. `scale_shift` and `keep` may be empty;
// keep holds what dropout multiplies each element by.
struct GroupNorm {
  int64_t n, hw, c, groups;
  double eps;
  bool silu;
  std::vector<double> x, gamma, beta, scale_shift, keep;

  size_t at(int64_t b, int64_t p, int64_t i) const {
    return static_cast<size_t>((b * hw + p) * c + i);
  }
  double scale(int64_t b, int64_t i) const {
    return scale_shift.empty() ? 0 : scale_shift[static_cast<size_t>(b * 2 * c + i)];
  }
  double shift(int64_t b, int64_t i) const {
    return scale_shift.empty() ? 0 : scale_shift[static_cast<size_t>(b * 2 * c + c + i)];
  }
};

// The problem of BasicGroupNormArgs or NormCoefficientsArgs, with x0 and x1 side by side; keep is
// empty.
template <class Args>
GroupNorm group_norm_of(const Args& args, bool silu, const std::vector<double>& x0,
                        const std::vector<double>& x1, std::vector<double> gamma,
                        std::vector<double> beta, std::vector<double> scale_shift) {
  GroupNorm s{args.n, args.hw, args.c0 + args.c1, args.groups,     args.eps,
              silu,   {},      std::move(gamma),  std::move(beta), std::move(scale_shift),
              {}};
  for (int64_t p = 0; p < args.n * args.hw; ++p) {
    s.x.insert(s.x.end(), x0.begin() + p * args.c0, x0.begin() + (p + 1) * args.c0);
    s.x.insert(s.x.end(), x1.begin() + p * args.c1, x1.begin() + (p + 1) * args.c1);
  }
  return s;
}

// What dropout multiplies element e of sample `sample` by, from the scalar generator.
inline double dropout_factor(const Dropout& d, int64_t sample, int64_t e) {
  const Philox block = philox(d.key, static_cast<uint64_t>(sample), static_cast<uint32_t>(e >> 3));
  const uint32_t word = block.word[(e >> 1) & 3];
  const uint32_t draw = (e & 1) ? word >> 16 : word & 0xFFFF;
  const double rate = d.rate;
  return static_cast<double>(draw) < rate * 65536 ? 0 : 1 / (1 - rate);
}

struct GroupNormResult {
  std::vector<double> y, mean, rstd;
};
inline GroupNormResult group_norm(const GroupNorm& s) {
  GroupNormResult r;
  r.y.resize(s.x.size());
  const int64_t d = s.c / s.groups;
  const double count = static_cast<double>(s.hw * d);
  for (int64_t b = 0; b < s.n; ++b) {
    for (int64_t g = 0; g < s.groups; ++g) {
      double mean = 0, variance = 0;
      for (int64_t p = 0; p < s.hw; ++p)
        for (int64_t i = g * d; i < (g + 1) * d; ++i) mean += s.x[s.at(b, p, i)] / count;
      for (int64_t p = 0; p < s.hw; ++p)
        for (int64_t i = g * d; i < (g + 1) * d; ++i)
          variance += std::pow(s.x[s.at(b, p, i)] - mean, 2) / count;
      const double rstd = 1 / std::sqrt(variance + s.eps);
      r.mean.push_back(mean);
      r.rstd.push_back(rstd);
      for (int64_t p = 0; p < s.hw; ++p) {
        for (int64_t i = g * d; i < (g + 1) * d; ++i) {
          const size_t e = s.at(b, p, i);
          double z = (s.x[e] - mean) * rstd * s.gamma[i] + s.beta[i];
          z = z * (1 + s.scale(b, i)) + s.shift(b, i);
          if (s.silu) z = z / (1 + std::exp(-z));
          r.y[e] = s.keep.empty() ? z : z * s.keep[e];
        }
      }
    }
  }
  return r;
}

struct GroupNormGradients {
  std::vector<double> dx, dgamma, dbeta, dscale_shift;
};
inline GroupNormGradients group_norm_backward(const GroupNorm& s, const std::vector<double>& dy) {
  const GroupNormResult forward = group_norm(s);
  GroupNormGradients r;
  r.dx.resize(s.x.size());
  r.dgamma.resize(static_cast<size_t>(s.c));
  r.dbeta.resize(static_cast<size_t>(s.c));
  r.dscale_shift.resize(static_cast<size_t>(s.n * 2 * s.c));
  const int64_t d = s.c / s.groups;
  const double count = static_cast<double>(s.hw * d);
  for (int64_t b = 0; b < s.n; ++b) {
    for (int64_t g = 0; g < s.groups; ++g) {
      const double mean = forward.mean[b * s.groups + g], rstd = forward.rstd[b * s.groups + g];
      double mean_d = 0, mean_dx = 0;  // of dxhat and of dxhat * xhat over the group
      for (int pass = 0; pass < 2; ++pass) {
        for (int64_t p = 0; p < s.hw; ++p) {
          for (int64_t i = g * d; i < (g + 1) * d; ++i) {
            const size_t e = s.at(b, p, i);
            const double xhat = (s.x[e] - mean) * rstd;
            const double normed = xhat * s.gamma[i] + s.beta[i];
            const double z = normed * (1 + s.scale(b, i)) + s.shift(b, i);
            double dz = s.keep.empty() ? dy[e] : dy[e] * s.keep[e];
            if (s.silu) {
              const double sigmoid = 1 / (1 + std::exp(-z));
              dz *= sigmoid + z * sigmoid * (1 - sigmoid);
            }
            const double dnormed = dz * (1 + s.scale(b, i));
            const double dxhat = dnormed * s.gamma[i];
            if (pass == 0) {
              r.dscale_shift[b * 2 * s.c + i] += dz * normed;
              r.dscale_shift[b * 2 * s.c + s.c + i] += dz;
              r.dgamma[i] += dnormed * xhat;
              r.dbeta[i] += dnormed;
              mean_d += dxhat / count;
              mean_dx += dxhat * xhat / count;
            } else {
              r.dx[e] = rstd * (dxhat - mean_d - xhat * mean_dx);
            }
          }
        }
      }
    }
  }
  return r;
}

}  // namespace diffscm::kernels::reference
