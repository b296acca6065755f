// Double-precision attention with the whole matrix of probabilities, forward and backward.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/operators.h"

namespace diffscm::kernels::reference {

struct Attention {
  int64_t n, tokens, queries, channels, heads;
  QkvLayout layout;
  std::vector<double> qkv;

  int64_t width() const { return channels / heads; }
  // Where q (part 0), k (1) or v (2) of a token's head has its channel d.
  size_t at(int64_t b, int64_t token, int part, int64_t head, int64_t d) const {
    const int64_t within = layout == QkvLayout::per_head ? (head * 3 + part) * width() + d
                                                         : part * channels + head * width() + d;
    return static_cast<size_t>((b * tokens + token) * 3 * channels + within);
  }
  size_t out_at(int64_t b, int64_t t, int64_t head, int64_t d) const {
    return static_cast<size_t>((b * queries + t) * channels + head * width() + d);
  }
};

struct AttentionResult {
  std::vector<double> out, lse, p;  // p [N, heads, Tq, T]
};
inline AttentionResult attention(const Attention& s) {
  AttentionResult r;
  r.out.resize(static_cast<size_t>(s.n * s.queries * s.channels));
  for (int64_t b = 0; b < s.n; ++b) {
    for (int64_t h = 0; h < s.heads; ++h) {
      for (int64_t t = 0; t < s.queries; ++t) {
        std::vector<double> score(static_cast<size_t>(s.tokens));
        for (int64_t u = 0; u < s.tokens; ++u) {
          for (int64_t d = 0; d < s.width(); ++d)
            score[u] += s.qkv[s.at(b, t, 0, h, d)] * s.qkv[s.at(b, u, 1, h, d)];
          score[u] /= std::sqrt(static_cast<double>(s.width()));
        }
        const double highest = *std::max_element(score.begin(), score.end());
        double sum = 0;
        for (const double v : score) sum += std::exp(v - highest);
        r.lse.push_back(highest + std::log(sum));
        for (int64_t u = 0; u < s.tokens; ++u) {
          const double p = std::exp(score[u] - highest) / sum;
          r.p.push_back(p);
          for (int64_t d = 0; d < s.width(); ++d)
            r.out[s.out_at(b, t, h, d)] += p * s.qkv[s.at(b, u, 2, h, d)];
        }
      }
    }
  }
  return r;
}

inline std::vector<double> attention_backward(const Attention& s, const std::vector<double>& dout) {
  const AttentionResult forward = attention(s);
  std::vector<double> dqkv(s.qkv.size());
  const double scale = 1 / std::sqrt(static_cast<double>(s.width()));
  size_t row = 0;
  for (int64_t b = 0; b < s.n; ++b) {
    for (int64_t h = 0; h < s.heads; ++h) {
      for (int64_t t = 0; t < s.queries; ++t, row += static_cast<size_t>(s.tokens)) {
        const double* p = forward.p.data() + row;
        std::vector<double> dp(static_cast<size_t>(s.tokens));
        double mean_dp = 0;
        for (int64_t u = 0; u < s.tokens; ++u) {
          for (int64_t d = 0; d < s.width(); ++d) {
            const double g = dout[s.out_at(b, t, h, d)];
            dp[u] += g * s.qkv[s.at(b, u, 2, h, d)];
            dqkv[s.at(b, u, 2, h, d)] += p[u] * g;
          }
          mean_dp += p[u] * dp[u];
        }
        for (int64_t u = 0; u < s.tokens; ++u) {
          const double ds = p[u] * (dp[u] - mean_dp) * scale;
          for (int64_t d = 0; d < s.width(); ++d) {
            dqkv[s.at(b, t, 0, h, d)] += ds * s.qkv[s.at(b, u, 1, h, d)];
            dqkv[s.at(b, u, 1, h, d)] += ds * s.qkv[s.at(b, t, 0, h, d)];
          }
        }
      }
    }
  }
  return dqkv;
}

}  // namespace diffscm::kernels::reference
