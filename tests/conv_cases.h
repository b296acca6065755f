// The convolution's cases, as tests/op_cases.h has the other operators': odd shapes, shapes that
// tiles stumble over, and every layer of the MNIST models.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/conv2d.h"

namespace diffscm::kernels {

struct ConvCase {
  ConvShape shape;
  std::string name = name_of(shape);
  bool timed = false;

  double flops() const { return static_cast<double>(shape.flops()); }
  double work() const { return flops() / 100; }
  // Elements of the input, the weight and the output.
  double elements() const {
    const ConvShape& s = shape;
    return static_cast<double>(s.n * s.h * s.w * s.c() + s.k * s.r * s.s * s.c() +
                               s.n * s.p() * s.q() * s.k);
  }
  static std::string name_of(const ConvShape& s) {
    std::string name = std::to_string(s.n) + "x" + std::to_string(s.h) + "x" + std::to_string(s.w) +
                       "x" + std::to_string(s.c0);
    if (s.c1 > 0) name += "+" + std::to_string(s.c1);
    name += "->" + std::to_string(s.k) + "_" + std::to_string(s.r) + "x" + std::to_string(s.s);
    if (s.stride > 1) name += "_stride2";
    if (s.upsample) name += "_upsample";
    return name;
  }
};

inline ConvShape conv_shape(int64_t n, int64_t h, int64_t w, int64_t c0, int64_t c1, int64_t k,
                            int64_t r, int stride = 1, bool upsample = false) {
  return {.n = n,
          .h = h,
          .w = w,
          .c0 = c0,
          .c1 = c1,
          .k = k,
          .r = r,
          .s = r,
          .stride = stride,
          .upsample = upsample};
}

// Odd sizes everywhere, every combination of what the operator can do.
inline std::vector<ConvShape> odd_conv_shapes() {
  return {
      conv_shape(2, 5, 7, 3, 0, 5, 3),
      conv_shape(1, 1, 1, 1, 0, 1, 3),
      conv_shape(3, 1, 1, 4, 0, 3, 1),
      conv_shape(2, 6, 5, 3, 4, 6, 3),
      conv_shape(2, 5, 7, 17, 16, 19, 3),
      conv_shape(2, 9, 8, 32, 32, 33, 3),
      conv_shape(2, 5, 7, 3, 0, 5, 3, 2),
      conv_shape(2, 7, 7, 17, 0, 34, 3, 2),
      conv_shape(1, 8, 6, 5, 0, 20, 3, 2),
      conv_shape(1, 1, 1, 2, 0, 2, 3, 2),
      conv_shape(1, 2, 1, 2, 0, 2, 3, 2),
      conv_shape(2, 5, 7, 3, 0, 5, 1, 2),
      conv_shape(2, 4, 6, 20, 0, 3, 1, 2),
      conv_shape(2, 5, 7, 3, 0, 5, 1),
      conv_shape(2, 5, 7, 17, 3, 21, 1),
      conv_shape(1, 3, 5, 2, 2, 3, 1),
      conv_shape(1, 3, 5, 3, 30, 70, 1),
      conv_shape(2, 5, 7, 3, 0, 5, 3, 1, true),
      conv_shape(1, 1, 1, 2, 0, 3, 3, 1, true),
      conv_shape(2, 3, 4, 18, 0, 35, 3, 1, true),
      conv_shape(2, 7, 7, 16, 0, 16, 3, 1, true),
      conv_shape(3, 28, 28, 1, 0, 32, 3),
      conv_shape(2, 28, 28, 32, 0, 1, 3),
      conv_shape(1, 28, 28, 3, 0, 18, 3),
      conv_shape(1, 9, 17, 18, 0, 3, 3),
      conv_shape(19, 3, 3, 20, 0, 24, 3),
      conv_shape(40, 1, 2, 3, 0, 2, 3),
      conv_shape(1, 7, 7, 64, 0, 64, 3),
      conv_shape(2, 7, 7, 33, 31, 64, 3),
      conv_shape(1, 14, 14, 16, 0, 48, 3, 2),
      conv_shape(1, 2, 2, 80, 0, 112, 3),
      conv_shape(1, 4, 4, 5, 0, 1, 3, 1, true),
  };
}

// What tiles and vectors of 8, 16, 32 and 64 meet: sizes at, below and above them, seams that cut
// them, images of one pixel, one output channel, reductions of one.
inline std::vector<ConvShape> tile_conv_shapes() {
  return {
      conv_shape(1, 5, 3, 8, 0, 24, 3),
      conv_shape(2, 5, 3, 24, 0, 8, 3),
      conv_shape(1, 7, 7, 32, 0, 40, 3),
      conv_shape(1, 7, 7, 40, 0, 32, 3),
      conv_shape(1, 7, 7, 72, 0, 96, 3),
      conv_shape(1, 5, 3, 96, 0, 72, 3),
      conv_shape(1, 5, 3, 128, 0, 128, 3),
      conv_shape(1, 1, 1, 128, 0, 64, 3),
      conv_shape(3, 1, 1, 64, 0, 128, 1),
      conv_shape(2, 14, 14, 8, 0, 8, 3),
      conv_shape(1, 14, 14, 64, 0, 3, 3),
      conv_shape(1, 14, 14, 3, 0, 64, 3),
      conv_shape(2, 7, 7, 1, 0, 1, 3),
      conv_shape(2, 7, 7, 1, 0, 1, 1),
      conv_shape(1, 7, 7, 24, 16, 32, 3),  // seams at a multiple of 8, of 4, of nothing
      conv_shape(1, 7, 7, 12, 20, 32, 3),
      conv_shape(1, 7, 7, 13, 51, 32, 3),
      conv_shape(1, 7, 7, 1, 7, 8, 3),
      conv_shape(1, 7, 7, 32, 3, 32, 3),
      conv_shape(1, 7, 7, 16, 12, 40, 1),
      conv_shape(1, 7, 7, 40, 24, 64, 1),
      conv_shape(2, 5, 3, 9, 31, 40, 1),
      conv_shape(1, 14, 14, 32, 0, 64, 3, 2),
      conv_shape(2, 7, 7, 40, 0, 24, 3, 2),
      conv_shape(1, 7, 7, 64, 0, 64, 1, 2),
      conv_shape(1, 7, 7, 32, 0, 32, 3, 1, true),
      conv_shape(1, 5, 3, 24, 0, 40, 3, 1, true),
      conv_shape(1, 17, 9, 32, 0, 64, 3),
      conv_shape(9, 4, 4, 32, 0, 32, 3),
      conv_shape(5, 14, 14, 40, 0, 48, 3),  // on emu, tiles of 256 and of 144 pixels
      conv_shape(31, 3, 3, 72, 0, 80, 3),
      conv_shape(1, 3, 3, 72, 8, 136, 3),  // a little more than 64 and 128
      conv_shape(1, 5, 3, 72, 0, 136, 3, 2),
      conv_shape(1, 2, 3, 72, 0, 136, 3, 1, true),
      conv_shape(1, 3, 70, 64, 0, 64, 3),  // rows longer than a block copies at once
      conv_shape(5, 9, 6, 32, 0, 32, 3),   // several stages of rows, over the ends of images
      conv_shape(3, 9, 6, 64, 0, 72, 3, 1, true),
      conv_shape(2, 4, 6, 136, 24, 72, 1),  // input channels of two tiles and tensors
  };
}

// The convolutions of models/unet.cpp with one residual block per level, each shape once. A 3x3
// filter reads one tensor (group norm has joined the two); the 1x1 of a shortcut reads both.
class ConvShapes {
 public:
  std::vector<ConvShape> all;

  void add(const ConvShape& shape) {
    for (const ConvShape& s : all)
      if (ConvCase::name_of(s) == ConvCase::name_of(shape)) return;
    all.push_back(shape);
  }
  void add_block(int64_t n, int64_t side, int64_t c0, int64_t c1, int64_t k) {
    add(conv_shape(n, side, side, c0 + c1, 0, k, 3));
    add(conv_shape(n, side, side, k, 0, k, 3));
    if (c0 + c1 != k) add(conv_shape(n, side, side, c0, c1, k, 1));
  }
};

inline std::vector<ConvShape> unet_conv_shapes(int64_t n, int64_t base,
                                               const std::vector<int64_t>& multiples,
                                               int64_t side = 28) {
  ConvShapes shapes;
  int64_t c = base * multiples[0];
  std::vector<int64_t> skips{c};
  shapes.add(conv_shape(n, side, side, 1, 0, c, 3));
  for (size_t level = 0; level < multiples.size(); ++level) {
    shapes.add_block(n, side, c, 0, base * multiples[level]);
    c = base * multiples[level];
    skips.push_back(c);
    if (level + 1 == multiples.size()) break;
    shapes.add(conv_shape(n, side, side, c, 0, c, 3, 2));
    skips.push_back(c);
    side /= 2;
  }
  shapes.add_block(n, side, c, 0, c);
  for (size_t level = multiples.size(); level-- > 0;) {
    for (int i = 0; i < 2; ++i) {
      shapes.add_block(n, side, c, skips.back(), base * multiples[level]);
      skips.pop_back();
      c = base * multiples[level];
    }
    if (level == 0) break;
    shapes.add(conv_shape(n, side, side, c, 0, c, 3, 1, true));
    side *= 2;
  }
  shapes.add(conv_shape(n, side, side, c, 0, 1, 3));
  return shapes.all;
}

// Those of models/classifier.cpp, which halves its images by pooling.
inline std::vector<ConvShape> classifier_conv_shapes(int64_t n) {
  ConvShapes shapes;
  int64_t side = 28, c = 32;
  shapes.add(conv_shape(n, side, side, 1, 0, c, 3));
  for (const int64_t k : {32, 64, 128, 128}) {
    shapes.add_block(n, side, c, 0, k);
    c = k;
    if (side > 3) side /= 2;
    shapes.add_block(n, side, c, 0, c);
  }
  return shapes.all;
}

inline std::vector<ConvShape> mnist_fast_conv_shapes(int64_t n) {
  return unet_conv_shapes(n, 32, {1, 2, 2});
}
inline std::vector<ConvShape> mnist_paper_conv_shapes(int64_t n) {
  return unet_conv_shapes(n, 64, {1, 2, 4});
}

// What the tests run.
inline std::vector<ConvCase> conv_cases() {
  std::vector<ConvCase> cases;
  for (const auto& shapes : {odd_conv_shapes(), tile_conv_shapes(), mnist_fast_conv_shapes(1),
                             classifier_conv_shapes(2)})
    for (const ConvShape& s : shapes) cases.push_back({s});
  return cases;
}

// What the benchmark runs: each layer of the three models, at the batches of one image, of training
// and of many counterfactuals.
inline std::vector<ConvCase> timed_conv_cases() {
  std::vector<ConvCase> cases;
  for (const int64_t n : {1, 64, 1024}) {
    ConvShapes shapes;
    for (const auto& model :
         {mnist_fast_conv_shapes(n), mnist_paper_conv_shapes(n), classifier_conv_shapes(n)})
      for (const ConvShape& s : model) shapes.add(s);
    for (const ConvShape& s : shapes.all) cases.push_back({s, ConvCase::name_of(s), true});
  }
  return cases;
}

}  // namespace diffscm::kernels
