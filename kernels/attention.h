// Multi-head self-attention over a fused qkv tensor.
#pragma once

#include <cstdint>

#include "kernels/bfloat16.h"

namespace diffscm::kernels {

// How one token's 3C channels are cut. Both occur in guided-diffusion, and weights do not travel
// between them: `per_head` = for each head [q | k | v] (QKVAttentionLegacy, the AttentionBlock);
// `chunked` = [q of all heads | k of all heads | v of all heads] (QKVAttention, the attention
// pool).
enum class QkvLayout { per_head, chunked };

// For head h of width D = C / heads, for each query token t < Tq:
//   s[t,u] = <q[t], k[u]> / sqrt(D),  p = softmax over u < T,  out[t] = sum_u p[t,u] v[u]
// `lse`[n,h,t] = log sum_u exp(s[t,u]) is what backward needs: the T x T scores are never stored.
// queries = Tq <= T: only the first Tq tokens ask (the attention pool reads token 0 alone).
// Every element of out and lse is written. T is float or bf16; computed in f32 with the maximum
// subtracted. Work: 4 N heads Tq T D FLOPs. Source: Vaswani et al. 2017, eq. 1; the log-sum-exp
// form: Dao et al. 2022, alg. 1-2.
template <class T>
struct BasicAttentionArgs {
  int64_t n, tokens, queries, channels, heads;
  QkvLayout layout;
  const T* qkv;  // [N, T, 3C]
  T* out;        // [N, Tq, C]
  float* lse;    // [N, heads, Tq]
};
using AttentionArgs = BasicAttentionArgs<float>;
template <class T>
void check(const BasicAttentionArgs<T>&);

// dqkv is overwritten everywhere (query gradients of tokens >= Tq are 0).
template <class T>
struct BasicAttentionBackwardArgs {
  BasicAttentionArgs<T> forward;  // out and lse as the forward wrote them
  const T* dout;                  // [N, Tq, C]
  T* dqkv;                        // [N, T, 3C]
};
using AttentionBackwardArgs = BasicAttentionBackwardArgs<float>;
template <class T>
void check(const BasicAttentionBackwardArgs<T>&);

}  // namespace diffscm::kernels
