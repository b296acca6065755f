// Each operator's cases, declared once: shapes (odd ones included), parameters, tolerance, and the
// work of one call. The tests run them against the double reference on every target; the benchmark
// runs those marked `timed`. Convolution's cases are in tests/conv_cases.h.
//
// A tolerance bounds max |actual - expected| relative to the largest |expected| of that output, for
// f32 storage; with bf16, rounding the output comes on top (tests/kernels/support.h). work() says
// what a case costs where each thread is emulated: elements, or FLOPs / 100.
#pragma once

#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "kernels/operators.h"

namespace diffscm::kernels {

inline constexpr double kFloat = 4.0;  // bytes

struct GroupNormCase {
  const char* name;
  int64_t n, hw, c0, c1, groups;
  bool silu, scale_shift;
  float dropout = 0;
  float offset = 0;  // added to x: a large mean shows cancellation
  double tolerance = 3e-6;
  bool timed = false;

  int64_t c() const { return c0 + c1; }
  int64_t size() const { return n * hw * c(); }
  double work() const { return static_cast<double>(size()); }
  double bytes() const { return 3 * kFloat * static_cast<double>(size()); }
  double backward_bytes() const { return 5 * kFloat * static_cast<double>(size()); }
};

inline std::vector<GroupNormCase> group_norm_cases() {
  return {
      {"plain", 2, 49, 64, 0, 32, false, false},
      {"silu", 3, 196, 64, 0, 32, true, false},
      {"film", 2, 49, 128, 0, 32, true, true},
      {"film_dropout", 3, 49, 64, 0, 32, true, true, 0.1f},
      {"dropout_without_silu", 2, 9, 24, 0, 4, false, false, 0.5f},
      {"group_of_one", 2, 25, 32, 0, 32, true, true},
      {"one_group", 2, 9, 5, 0, 1, true, false},
      // Two values to a group: dx is what is left when nearly everything cancels.
      {"one_pixel", 4, 1, 64, 0, 32, true, true, 0.3f, 0, 1e-4},
      {"odd_channels", 2, 35, 21, 0, 7, true, true, 0.2f},
      {"straddling_seam", 2, 49, 40, 24, 32, true, true, 0.1f},
      {"straddling_odd", 3, 15, 7, 8, 5, true, true, 0.25f},
      {"concat", 2, 196, 64, 32, 32, true, false},
      {"seam_within_vector", 2, 25, 9, 7, 8, true, true},
      {"seam_at_vector", 2, 25, 8, 24, 4, true, false, 0.2f},
      {"second_odd", 2, 25, 8, 7, 5, true, true},
      {"second_of_half_vectors", 2, 25, 16, 12, 4, true, false},
      {"three_channels", 3, 35, 3, 0, 3, true, true},
      {"groups_of_72", 2, 49, 72, 0, 1, true, false},
      {"96_channels", 1, 49, 96, 0, 32, true, true},
      // Groups too large for the shared memory of a multiprocessor.
      {"large_group", 2, 784, 64, 0, 1, true, true, 0.1f},
      {"large_groups_with_seam", 1, 1800, 40, 24, 2, true, true},
      {"large_odd_groups", 1, 10001, 7, 8, 3, true, true, 0.2f},
      {"large_groups_large_mean", 1, 1800, 64, 0, 2, false, true, 0, 1000.0f, 2e-4},
      {"one_long_group", 1, 4000, 1, 0, 1, true, false},
      // Too large for the cuda target's shared memory: groups wider than a slab, or tall slabs.
      {"group_of_512", 2, 20, 512, 0, 1, true, true},
      {"group_of_321", 2, 9, 200, 121, 1, true, true, 0.2f},
      {"groups_of_1200", 1, 5, 2400, 0, 2, true, false},
      {"chunks", 2, 300, 128, 64, 2, true, true, 0.1f},
      {"chunks_large_mean", 1, 300, 192, 0, 2, false, true, 0, 1000.0f, 2e-4},
      {"wide", 1, 16, 512, 512, 32, true, true},
      {"large_mean", 2, 196, 64, 0, 32, true, true, 0, 1000.0f, 2e-4},
      {"mnist_first", 1, 784, 32, 0, 32, true, true, 0, 0, 3e-6, true},
      {"mnist_28x28x32", 16, 784, 32, 0, 32, true, true, 0, 0, 3e-6, true},
      {"mnist_pair", 2, 784, 32, 0, 32, true, true, 0.1f},
      {"mnist_pair_64+32", 2, 784, 64, 32, 32, true, false},
      {"mnist_28x28x32_dropout", 16, 784, 32, 0, 32, true, true, 0.1f, 0, 3e-6, true},
      {"mnist_28x28_64+32", 16, 784, 64, 32, 32, true, false, 0, 0, 3e-6, true},
      {"mnist_14x14x64", 16, 196, 64, 0, 32, true, true, 0, 0, 3e-6, true},
      {"mnist_7x7x64", 16, 49, 64, 0, 32, true, true, 0, 0, 3e-6, true},
      {"batch1024_28x28x32", 1024, 784, 32, 0, 32, true, true, 0, 0, 3e-6, true},
      {"batch1024_28x28_64+32", 1024, 784, 64, 32, 32, true, false, 0, 0, 3e-6, true},
      {"batch1024_14x14x64", 1024, 196, 64, 0, 32, true, true, 0, 0, 3e-6, true},
      {"batch1024_7x7x64", 1024, 49, 64, 0, 32, true, true, 0, 0, 3e-6, true},
  };
}

struct AttentionCase {
  const char* name;
  int64_t n, tokens, queries, channels, heads;
  QkvLayout layout;
  float scale = 1;  // of the inputs: large scores show whether the maximum is subtracted
  double tolerance = 5e-6;
  bool timed = false;

  double flops() const { return 4.0 * static_cast<double>(n * queries * tokens * channels); }
  double work() const { return flops() / 100; }
};

inline std::vector<AttentionCase> attention_cases() {
  return {
      {"batch1024_7x7", 1024, 49, 49, 64, 1, QkvLayout::per_head, 1, 5e-6, true},
      {"batch1024_pool", 1024, 10, 1, 128, 2, QkvLayout::chunked, 1, 5e-6, true},
      {"mnist_7x7", 8, 49, 49, 64, 1, QkvLayout::per_head, 1, 5e-6, true},
      {"heads_of_16", 4, 49, 49, 64, 4, QkvLayout::per_head, 1, 5e-6, true},
      {"chunked", 2, 49, 49, 64, 2, QkvLayout::chunked},
      {"pool", 4, 50, 1, 64, 1, QkvLayout::chunked, 1, 5e-6, true},
      {"some_queries", 2, 10, 3, 24, 3, QkvLayout::chunked},
      {"odd", 3, 7, 7, 15, 3, QkvLayout::per_head},
      {"one_token", 2, 1, 1, 8, 2, QkvLayout::per_head},
      {"width_one", 2, 5, 5, 3, 3, QkvLayout::chunked},
      {"long", 1, 130, 130, 32, 1, QkvLayout::per_head},
      {"mnist_pair", 2, 49, 49, 64, 1, QkvLayout::per_head},
      {"wide_head", 1, 20, 20, 128, 1, QkvLayout::per_head},
      {"head_of_24", 2, 33, 33, 72, 3, QkvLayout::chunked},
      {"head_of_40", 1, 17, 17, 40, 1, QkvLayout::per_head},
      {"head_of_80", 1, 70, 70, 80, 1, QkvLayout::per_head},
      {"head_of_256", 1, 49, 49, 256, 1, QkvLayout::per_head},
      {"head_of_608", 1, 9, 9, 608, 1, QkvLayout::chunked},
      {"tile_and_one", 1, 65, 65, 16, 1, QkvLayout::chunked},
      {"one_query_of_many", 3, 197, 1, 48, 3, QkvLayout::per_head},
      {"large_scores", 2, 20, 20, 16, 1, QkvLayout::per_head, 12, 1e-4},
  };
}

struct MatmulCase {
  const char* name;
  int64_t m, n, k;
  bool transpose_a, transpose_b, bias, residual;
  bool in_place = false;  // residual is c
  int64_t padding = 0;    // added to every leading dimension
  double tolerance = 3e-6;
  bool timed = false;

  double flops() const { return 2.0 * static_cast<double>(m * n * k); }
  double work() const { return flops() / 100; }
};

inline std::vector<MatmulCase> matmul_cases() {
  return {
      {"one", 1, 1, 1, false, false, true, false},
      {"embedding", 10, 128, 32, false, true, true, false, false, 0, 3e-6, true},
      {"batch1024_embedding", 1024, 128, 128, false, true, true, false, false, 0, 3e-6, true},
      {"batch1024_qkv", 50176, 192, 64, false, true, true, false, false, 0, 3e-6, true},
      {"qkv", 490, 192, 64, false, true, true, false, false, 0, 3e-6, true},
      {"projection", 98, 64, 64, false, true, true, true, false, 0, 3e-6, true},
      {"odd", 7, 13, 5, false, false, true, true},
      {"odd_padded", 7, 13, 5, false, true, true, true, false, 3},
      {"transposed", 9, 11, 17, true, false, false, false, false, 2},
      {"both_transposed", 9, 11, 17, true, true, true, false},
      {"in_place", 33, 65, 19, false, true, false, true, true, 1},
      {"in_place_bias", 5, 6, 7, true, false, true, true, true},
      {"row", 1, 300, 200, false, true, true, false},
      {"column", 300, 1, 200, false, true, true, false},
      {"weight_gradient", 192, 64, 490, true, false, false, true, true, 0, 3e-6, true},
      {"deep", 15, 35, 1100, false, true, true, true, false, 1},
      {"deep_weight_gradient", 60, 270, 1030, true, false, false, true, true},
      {"tile", 64, 64, 64, false, true, false, false},
      {"tiles_and_one", 129, 65, 33, false, true, true, true},
      {"tile_less_one", 63, 127, 31, true, false, true, false},
      {"one_inner", 70, 70, 1, false, false, false, false},
      {"eights", 40, 24, 72, false, true, true, true, false, 8},
      {"classes", 2, 10, 128, false, true, true, false},
      {"empty_inner", 3, 4, 0, false, false, true, true},
      {"empty_inner_plain", 3, 4, 0, false, false, false, false},
  };
}

struct LinearGroupCase {
  const char* name;
  int64_t m, k;
  std::vector<int64_t> outs;
  bool timed = false;

  int64_t out() const { return std::accumulate(outs.begin(), outs.end(), int64_t{0}); }
  double flops() const { return 2.0 * static_cast<double>(m * k * out()); }
  double work() const { return flops() / 100; }
};

inline std::vector<LinearGroupCase> linear_group_cases() {
  // Twice the channels of each residual block of mnist-fast.
  const std::vector<int64_t> mnist{64, 128, 128, 128, 128, 128, 128, 128, 128, 64, 64};
  return {
      {"one", 1, 1, {1}},
      {"odd", 7, 13, {5, 1, 17}},
      {"tiles", 64, 32, {32, 64, 128}},
      {"tiles_and_one", 65, 33, {33, 65}},
      {"eights", 40, 24, {8, 16, 8, 24}},
      {"one_row", 1, 128, {64, 128}},
      {"more_than_a_launch", 3, 5, std::vector<int64_t>(70, 4)},
      {"an_empty_layer", 5, 6, {4, 0, 3}},
      {"no_rows", 0, 6, {4, 3}},
      {"no_inputs", 3, 0, {4, 3}},
      {"mnist", 1, 128, mnist, true},
      {"mnist_batch64", 64, 128, mnist, true},
      {"mnist_batch256", 256, 128, mnist, true},
  };
}

struct TimeProjectionsCase {
  const char* name;
  int64_t n, channels, hidden;
  std::vector<int64_t> outs;
  bool more = false, last_frequency = false, timed = false;

  int64_t out() const { return std::accumulate(outs.begin(), outs.end(), int64_t{0}); }
  double flops() const {
    return 2.0 * static_cast<double>(n * hidden * (channels + hidden + out()));
  }
  double work() const { return flops() / 100; }
};

inline std::vector<TimeProjectionsCase> time_projections_cases() {
  const std::vector<int64_t> mnist = linear_group_cases().back().outs;
  return {
      {"least", 1, 2, 1, {1}},
      {"odd", 3, 6, 13, {5, 1, 17}, true},
      {"odd_rows", 11, 6, 7, {40, 2}, true, true},
      {"eights", 8, 32, 64, {64, 32, 8}},
      {"last_row_alone", 9, 4, 16, {65}, true},
      {"just_less_than_a_tile", 7, 8, 32, {8, 33}, false, true},
      {"more_than_a_launch", 2, 4, 12, std::vector<int64_t>(70, 3), true},
      {"an_empty_layer", 5, 4, 8, {4, 0, 3}},
      {"no_layers", 4, 4, 8, {}},
      {"no_rows", 0, 4, 8, {3}},
      {"mnist", 1, 32, 128, mnist, false, false, true},
      {"mnist_batch64", 64, 32, 128, mnist, false, false, true},
      {"mnist_batch1024", 1024, 32, 128, mnist, false, false, true},
  };
}

struct DdimCase {
  const char* name;
  int64_t n, elements;
  double alpha_bar, alpha_bar_next;
  double sigma = 0, guidance_scale = 0, mean_shift = 0, condition_scale = 1;
  Threshold threshold = Threshold::none;
  bool uncond = false, gradient = false, x0 = true;
  double tolerance = 3e-6;
  bool timed = false;

  double work() const { return static_cast<double>(n * elements); }
  double bytes() const {
    const int streams = 3 + uncond + gradient + (sigma > 0) + x0;
    return kFloat * streams * static_cast<double>(n * elements);
  }
};

inline std::vector<DdimCase> ddim_cases() {
  return {
      {"predict", 3, 784, 0.3, 0.5},
      {"abduct", 3, 784, 0.5, 0.3},
      {"last", 2, 35, 0.98, 1.0},
      {"first", 2, 35, 1.0, 0.98},
      {"to_noise", 2, 35, 0.02, 0.0},
      {"stochastic", 2, 784, 0.3, 0.5, 0.4},
      {"sigma_too_large", 1, 65, 0.3, 0.9, 0.4},
      {"clip", 2, 784, 0.3, 0.5, 0, 0, 0, 1, Threshold::clip},
      {"dynamic", 3, 100, 0.3, 0.5, 0, 0, 0, 1, Threshold::dynamic},
      {"guided", 2, 784, 0.3, 0.5, 0, 2.5, 0, 1, Threshold::none, false, true},
      {"guided_clip", 2, 600, 0.3, 0.5, 0, 0.7, 0, 1, Threshold::clip, false, true},
      {"mean_shift", 2, 784, 0.3, 0.5, 0.2, 0, 0.04, 1, Threshold::clip, false, true},
      {"classifier_free", 2, 784, 0.3, 0.5, 0, 0, 0, 3.0, Threshold::none, true},
      {"everything", 3, 1025, 0.4, 0.6, 0.1, 0.5, 0.02, 1.5, Threshold::dynamic, true, true},
      {"past_caches", 8192, 3072, 0.3, 0.5, 0, 0, 0, 1, Threshold::none, false, false, false, 3e-6,
       true},
      {"guided_past_caches", 8192, 3072, 0.3, 0.5, 0, 1, 0, 1, Threshold::clip, false, true, false,
       3e-6, true},
      {"plain_large", 64, 3072, 0.3, 0.5, 0, 0, 0, 1, Threshold::none, false, false, false, 3e-6,
       true},
      {"guided_large", 64, 3072, 0.3, 0.5, 0, 1, 0, 1, Threshold::clip, false, true, false, 3e-6,
       true},
  };
}

struct AdamwCase {
  const char* name;
  int64_t n, step;
  bool ema;
  double lr = 1e-3, weight_decay = 0.01, gradient_scale = 1;
  double tolerance = 2e-6;
  bool timed = false;

  double work() const { return static_cast<double>(n); }
  double bytes() const { return kFloat * (ema ? 9.0 : 7.0) * static_cast<double>(n); }
};

inline std::vector<AdamwCase> adamw_cases() {
  return {
      {"first", 1000, 1, true},
      {"late", 33, 1000, true, 2e-4, 0.05, 0.125},
      {"no_average", 100001, 7, false},
      {"no_decay", 17, 3, true, 1e-2, 0},
      {"large", 1 << 22, 10, true, 1e-3, 0.01, 1, 2e-6, true},
  };
}

// Elementwise operators and the generator, as the benchmark runs them.
struct SizeCase {
  std::string name;
  int64_t n;
  bool timed = true;

  double work() const { return static_cast<double>(n); }
};
inline std::vector<SizeCase> size_cases() {
  return {{"16384", 1 << 14}, {"4194304", 1 << 22}, {"33554432", 1 << 25}};
}

// Pooling, [N, H, W, C].
struct ImageCase {
  int64_t n, h, w, c;
};
inline std::vector<ImageCase> pool_cases() {
  return {{2, 28, 28, 32}, {3, 7, 7, 64}, {1, 5, 4, 3},  {2, 3, 9, 17}, {1, 2, 2, 1},
          {2, 1, 5, 3},    {2, 4, 6, 40}, {1, 7, 7, 72}, {3, 14, 14, 8}};
}

// Loops over [N, elements].
struct RowsCase {
  int64_t n, elements;
};
inline std::vector<RowsCase> rows_cases() {
  return {{1, 1}, {3, 7}, {2, 784}, {5, 1000}, {1, 100003}};
}

}  // namespace diffscm::kernels
