// The convolution of kernels/conv2d.h in double precision, by plain loops that share no code with
// the library: every (input, weight, output) triple is visited once and feeds its result.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/conv2d.h"

namespace diffscm::kernels::reference {

// Calls visit(x_index_of_concatenated_stored_image, weight_index, y_index) for every product.
template <class F>
void for_each_product(const ConvShape& s, F&& visit) {
  const int64_t c = s.c();
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t p = 0; p < s.p(); ++p)
      for (int64_t q = 0; q < s.q(); ++q)
        for (int64_t r = 0; r < s.r; ++r)
          for (int64_t t = 0; t < s.s; ++t) {
            int64_t h = p * s.stride + r - s.r / 2, w = q * s.stride + t - s.s / 2;
            if (h < 0 || h >= s.in_h() || w < 0 || w >= s.in_w()) continue;
            if (s.upsample) h /= 2, w /= 2;
            for (int64_t k = 0; k < s.k; ++k)
              for (int64_t i = 0; i < c; ++i)
                visit(((n * s.h + h) * s.w + w) * c + i, ((k * s.r + r) * s.s + t) * c + i,
                      ((n * s.p() + p) * s.q() + q) * s.k + k);
          }
}

// x is the concatenated input [N, H, W, C]; bias and residual may be empty.
inline std::vector<double> conv2d(const ConvShape& s, const std::vector<float>& x,
                                  const std::vector<float>& weight, const std::vector<float>& bias,
                                  const std::vector<float>& residual) {
  std::vector<double> y(s.n * s.p() * s.q() * s.k);
  for (std::size_t i = 0; i < y.size(); ++i)
    y[i] = (bias.empty() ? 0.0 : bias[i % s.k]) + (residual.empty() ? 0.0 : residual[i]);
  for_each_product(s, [&](int64_t in, int64_t w, int64_t out) {
    y[out] += static_cast<double>(x[in]) * weight[w];
  });
  return y;
}

// dx is that of the concatenated input.
inline std::vector<double> conv2d_backward_input(const ConvShape& s,
                                                 const std::vector<float>& weight,
                                                 const std::vector<float>& dy) {
  std::vector<double> dx(s.n * s.h * s.w * s.c());
  for_each_product(s, [&](int64_t in, int64_t w, int64_t out) {
    dx[in] += static_cast<double>(dy[out]) * weight[w];
  });
  return dx;
}

inline std::vector<double> conv2d_backward_weight(const ConvShape& s, const std::vector<float>& x,
                                                  const std::vector<float>& dy) {
  std::vector<double> dweight(s.k * s.r * s.s * s.c());
  for_each_product(s, [&](int64_t in, int64_t w, int64_t out) {
    dweight[w] += static_cast<double>(dy[out]) * x[in];
  });
  return dweight;
}

}  // namespace diffscm::kernels::reference
