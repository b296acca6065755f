// Group normalisation, backward: what its two ways have in common.
//
// With d = x - mean, w[c] = gamma (1 + scale), a = rstd w and dz the gradient behind SiLU and
// dropout, everything follows from two sums per channel and sample,
//   s1[c] = sum dz,  s2[c] = rstd sum dz d:
//   dscale = gamma s2 + beta s1,  dshift = s1,
//   dgamma = sum_n (1 + scale) s2,  dbeta = sum_n (1 + scale) s1,
//   dx = a dz - (p + q d)   with p = rstd m1, q = rstd^2 m2 and m1, m2 the group's means of w s1
//                           and w s2.
#pragma once

#include "kernels/cuda/device/elements.h"
#include "kernels/cuda/group_norm.h"

namespace diffscm::kernels::DIFFSCM_TARGET {

// What a thread knows of its V channels, and how it gets from x and dy to d and dz.
template <class T, int V, bool kSilu, bool kDrop>
struct NormGradient {
  Numbers<V> mean, a, bias;  // z = a d + bias
  DropoutScale drop;
  RandomKey key;
  uint64_t sample;

  __device__ NormGradient(const BasicGroupNormArgs<T>& args, int64_t n, const DropoutScale& drop_)
      : drop(drop_),
        key(kDrop ? resolved(args.dropout.key) : RandomKey{}),
        sample(static_cast<uint64_t>(args.dropout.first_sample + n)) {}

  __device__ Numbers<V> deviations(const Vector<T, V>& x) const {
    auto d = numbers_of(x);
#pragma unroll
    for (int j = 0; j < V; ++j) d[j] -= mean[j];
    return d;
  }
  // dz. e: the number of the first element within its sample.
  __device__ Numbers<V> operator()(const Numbers<V>& d, const Numbers<V>& dy, int64_t e) const {
    [[maybe_unused]] uint32_t draw[V];
    if constexpr (kDrop) dropout_draws<V>(key, sample, e, draw);
    Numbers<V> dz = dy;
#pragma unroll
    for (int j = 0; j < V; ++j) {
      if constexpr (kDrop) dz[j] = draw[j] < drop.threshold ? 0.0f : dz[j] * drop.scale;
      if constexpr (kSilu) {
        const float z = fmaf(d[j], a[j], bias[j]);
        const float s = sigmoid_approximate(z);
        dz[j] *= s + z * s * (1.0f - s);
      }
    }
    return dz;
  }
  // dx, with what else flows into x.
  __device__ Vector<T, V> of_input(const Numbers<V>& d, const Numbers<V>& dz, const Numbers<V>& p,
                                   const Numbers<V>& q, const Numbers<V>& more) const {
    float dx[V];
#pragma unroll
    for (int j = 0; j < V; ++j) dx[j] = fmaf(a[j], dz[j], more[j] - fmaf(q[j], d[j], p[j]));
    return from_floats<T>(dx);
  }
};

// Over pixels, for a thread's channels.
template <int V>
struct NormSums {
  Numbers<V> dz, dz_d;

  __device__ void add(const Numbers<V>& d, const Numbers<V>& more) {
#pragma unroll
    for (int j = 0; j < V; ++j) {
      dz[j] += more[j];
      dz_d[j] = fmaf(more[j], d[j], dz_d[j]);
    }
  }
};

// Writes what follows from one channel's sums; returns its w.
template <class T>
__device__ inline float finish_channel(const BasicGroupNormBackwardArgs<T>& args,
                                       const GroupNormPlan& plan, int64_t n, int c, float s1,
                                       float s2, float* totals) {
  const BasicGroupNormArgs<T>& f = args.forward;
  const float one_scale = f.scale_shift ? 1.0f + f.scale_shift[n * 2 * plan.c + c] : 1.0f;
  if (args.dscale_shift != nullptr) {
    float* out = args.dscale_shift + n * 2 * plan.c + c;
    out[0] = f.gamma[c] * s2 + f.beta[c] * s1;
    out[plan.c] = s1;
  }
  if (totals != nullptr) {
    totals[n * 2 * plan.c + c] = one_scale * s1;
    totals[n * 2 * plan.c + plan.c + c] = one_scale * s2;
  }
  return f.gamma[c] * one_scale;
}

// What else flows into the thread's channels of x0 or x1, or nothing.
template <class T, int V>
struct Addend {
  const T* data;  // of the sample's first pixel, or null

  __device__ Numbers<V> at(int64_t offset) const {
    return data ? load_numbers<V>(data + offset) : Numbers<V>();
  }
};

}  // namespace diffscm::kernels::DIFFSCM_TARGET
