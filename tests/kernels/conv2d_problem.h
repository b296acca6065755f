// A convolution's data on a device, and its three passes into poisoned outputs.
#pragma once

#include "kernels/conv2d.h"
#include "tests/kernels/support.h"

namespace diffscm::kernels::test {

// One shape with its data on a device.
template <class T>
struct ConvProblem {
  const Device& d;
  ConvShape s;
  Array<const T> x0, x1, weight, residual, dy;
  Array<const float> bias;

  ConvProblem(const Device& device, const ConvShape& shape)
      : d(device),
        s(shape),
        x0(d.input<T>(random_floats(s.n * s.h * s.w * s.c0, 1))),
        x1(d.input<T>(random_floats(s.n * s.h * s.w * s.c1, 2))),
        weight(d.input<T>(random_weights(s))),
        residual(d.input<T>(random_floats(outputs(), 4))),
        dy(d.input<T>(random_floats(outputs(), 5))),
        bias(d.input(random_floats(s.k, 6))) {}

  // Those of an enlarged image are such that bf16 holds the sum of any four: whether a rung adds
  // them up before they are multiplied does not matter then.
  static Floats random_weights(const ConvShape& s) {
    Floats weights = random_floats(s.k * s.r * s.s * s.c(), 3);
    if (s.upsample)
      for (float& w : weights) w = std::round(std::clamp(w, -3.5f, 3.5f) * 16) / 16;
    return weights;
  }

  int64_t outputs() const { return s.n * s.p() * s.q() * s.k; }

  // The input as the filter sees it, channels of x0 and x1 side by side.
  Floats concatenated() const { return interleave(x0.floats(), x1.floats()); }
  Floats interleave(const Floats& first, const Floats& second) const {
    Floats x;
    for (int64_t i = 0; i < s.n * s.h * s.w; ++i) {
      x.insert(x.end(), first.begin() + i * s.c0, first.begin() + (i + 1) * s.c0);
      x.insert(x.end(), second.begin() + i * s.c1, second.begin() + (i + 1) * s.c1);
    }
    return x;
  }

  Array<T> forward(bool extras, const T* packed = nullptr) const {
    auto y = d.output<T>(outputs());
    d.table.of(BasicConv2dArgs<T>{})({s, x0, x1, weight, packed, extras ? bias.data() : nullptr,
                                      extras ? residual.data() : nullptr, y});
    return y;
  }

  struct Inputs {
    Array<T> dx0, dx1;
  };
  Inputs backward_input(const T* packed = nullptr) const {
    Inputs g{d.output<T>(x0.size()), d.output<T>(x1.size())};
    d.table.of(BasicConv2dBackwardInputArgs<T>{})({s, dy, weight, packed, g.dx0, g.dx1});
    return g;
  }

  struct Weights {
    Array<float> dweight, dbias;
  };
  Weights backward_weight(bool with_bias = true) const {
    Weights g{d.output(weight.size()), d.output(with_bias ? s.k : 0)};
    d.table.of(BasicConv2dBackwardWeightArgs<T>{})({s, x0, x1, dy, g.dweight, g.dbias});
    return g;
  }
};

}  // namespace diffscm::kernels::test
