// Shapes of the ImageNet networks (configs/adm-*.toml), one image, of four convolutions also eight:
// what bench_operators times beside the cases that the tests share.
#pragma once

#include <array>

#include "tests/conv_cases.h"
#include "tests/op_cases.h"

namespace diffscm::kernels {

inline std::vector<ConvCase> adm_conv_cases() {
  const auto conv = [](int64_t size, int64_t c0, int64_t c1, int64_t k, int64_t r = 3,
                       bool upsample = false, int64_t n = 1) {
    ConvCase one{conv_shape(n, size, size, c0, c1, k, r, 1, upsample)};
    one.name = "adm_" + one.name;
    one.timed = true;
    return one;
  };
  std::vector<ConvCase> cases = {
      conv(64, 128, 0, 128),     // the classifiers' first level
      conv(64, 192, 0, 192),     // adm-64, level by level
      conv(32, 384, 0, 384),     //
      conv(16, 576, 0, 576),     //
      conv(8, 768, 0, 768),      //
      conv(64, 512, 0, 512),     // adm-256
      conv(32, 512, 0, 512),     //
      conv(32, 1024, 512, 512),  // its output blocks read a skip connection
      conv(32, 1024, 512, 512, 1), conv(16, 1024, 0, 1024), conv(8, 1024, 0, 1024, 3, true),
      conv(8, 1024, 0, 1024),
  };
  for (const auto& [size, c0, c1, k] : {std::array<int64_t, 4>{64, 192, 0, 192},
                                        {32, 512, 0, 512},
                                        {32, 1024, 512, 512},
                                        {16, 1024, 0, 1024}})
    cases.push_back(conv(size, c0, c1, k, 3, false, 8));
  return cases;
}

inline std::vector<GroupNormCase> adm_group_norm_cases() {
  const auto norm = [](const char* name, int64_t size, int64_t c0, int64_t c1 = 0) {
    return GroupNormCase{.name = name,
                         .n = 1,
                         .hw = size * size,
                         .c0 = c0,
                         .c1 = c1,
                         .groups = 32,
                         .silu = true,
                         .scale_shift = c1 == 0,
                         .timed = true};
  };
  return {norm("adm_64x64x192", 64, 192), norm("adm_32x32x512", 32, 512),
          norm("adm_16x16x1024", 16, 1024), norm("adm_8x8x1024", 8, 1024),
          norm("adm_32x32x1024+512", 32, 1024, 512)};
}

// Heads of 64 channels.
inline std::vector<AttentionCase> adm_attention_cases() {
  const auto attention = [](const char* name, int64_t size, int64_t channels) {
    return AttentionCase{.name = name,
                         .n = 1,
                         .tokens = size * size,
                         .queries = size * size,
                         .channels = channels,
                         .heads = channels / 64,
                         .layout = QkvLayout::per_head,
                         .timed = true};
  };
  return {attention("adm_32x32x512", 32, 512), attention("adm_16x16x1024", 16, 1024),
          attention("adm_8x8x1024", 8, 1024)};
}

}  // namespace diffscm::kernels
