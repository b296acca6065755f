// The convolution of every target against plain loops in double precision, and its contract: every
// output element written, the residual may be the output, packing changes nothing.
#include "tests/conv_cases.h"
#include "tests/kernels/conv2d_reference.h"
#include "tests/kernels/support.h"
#include "tests/reference.h"

namespace diffscm::kernels {
namespace {

using namespace test;

constexpr double kTolerance = 4e-6;  // f32 sums of products
constexpr double kWinograd = 2e-5;   // the cpu target's transforms lose a little

double tolerance(const Device& d) {
  return d.is("cpu") ? kWinograd : kTolerance;
}

// One shape with its data on a device.
template <class T>
struct Problem {
  const Device& d;
  ConvShape s;
  Array<const T> x0, x1, weight, residual, dy;
  Array<const float> bias;

  Problem(const Device& device, const ConvShape& shape)
      : d(device),
        s(shape),
        x0(d.input<T>(random_floats(s.n * s.h * s.w * s.c0, 1))),
        x1(d.input<T>(random_floats(s.n * s.h * s.w * s.c1, 2))),
        weight(d.input<T>(random_floats(s.k * s.r * s.s * s.c(), 3))),
        residual(d.input<T>(random_floats(outputs(), 4))),
        dy(d.input<T>(random_floats(outputs(), 5))),
        bias(d.input(random_floats(s.k, 6))) {}

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
    pick<T>(d.table.conv2d,
            d.table.conv2d_bf16)({s, x0, x1, weight, packed, extras ? bias.data() : nullptr,
                                  extras ? residual.data() : nullptr, y});
    return y;
  }

  struct Inputs {
    Array<T> dx0, dx1;
  };
  Inputs backward_input(const T* packed = nullptr) const {
    Inputs g{d.output<T>(x0.size()), d.output<T>(x1.size())};
    pick<T>(d.table.conv2d_backward_input,
            d.table.conv2d_backward_input_bf16)({s, dy, weight, packed, g.dx0, g.dx1});
    return g;
  }

  struct Weights {
    Array<float> dweight, dbias;
  };
  Weights backward_weight(bool with_bias = true) const {
    Weights g{d.output(weight.size()), d.output(with_bias ? s.k : 0)};
    pick<T>(d.table.conv2d_backward_weight,
            d.table.conv2d_backward_weight_bf16)({s, x0, x1, dy, g.dweight, g.dbias});
    return g;
  }
};

template <class T>
void check_forward(const Device& d, const ConvShape& s, const std::string& name) {
  const Problem<T> p(d, s);
  const Floats x = p.concatenated(), weight = p.weight.floats();
  expect_close(p.forward(false), reference::conv2d(s, x, weight, {}, {}), tolerance(d), name);
  expect_close(p.forward(true),
               reference::conv2d(s, x, weight, p.bias.floats(), p.residual.floats()), tolerance(d),
               name + " with bias and residual");
}

template <class T>
void check_backward_input(const Device& d, const ConvShape& s, const std::string& name) {
  const Problem<T> p(d, s);
  const auto g = p.backward_input();
  expect_close(p.interleave(g.dx0.floats(), g.dx1.floats()),
               reference::conv2d_backward_input(s, p.weight.floats(), p.dy.floats()), tolerance(d),
               name, kRounding<T>);
}

template <class T>
void check_backward_weight(const Device& d, const ConvShape& s, const std::string& name) {
  const Problem<T> p(d, s);
  const auto g = p.backward_weight();
  const Floats dy = p.dy.floats();
  expect_close(g.dweight, reference::conv2d_backward_weight(s, p.concatenated(), dy), tolerance(d),
               name + " dweight");
  expect_close(g.dbias, reference::column_sum(p.outputs() / s.k, s.k, to_double(dy)), tolerance(d),
               name + " dbias");
  expect_same_bits(p.backward_weight(false).dweight, g.dweight, name + " without dbias");
}

using Check = void (*)(const Device&, const ConvShape&, const std::string&);
void check_all(Device& d, Check check) {
  for (const ConvCase& k : conv_cases())
    if (d.affords(k.work())) check(d, k.shape, k.name);
  d.offset = 1;
  for (const ConvShape& s : tile_conv_shapes())
    if (s.flops() < 1'000'000) check(d, s, ConvCase::name_of(s) + ", misaligned");
}

TYPED_TARGET_TEST(Conv2d, ForwardMatchesReference) {
  check_all(d, check_forward<T>);
}
TYPED_TARGET_TEST(Conv2d, BackwardInputMatchesReference) {
  check_all(d, check_backward_input<T>);
}
TYPED_TARGET_TEST(Conv2d, BackwardWeightMatchesReference) {
  check_all(d, check_backward_weight<T>);
}

// At a batch that fills a GPU, with the cpu target as the reference.
TYPED_TARGET_TEST_ON("cuda", Conv2d, LargeBatchMatchesCpu) {
  const Device cpu(kTargets[0]);
  for (const ConvShape& s : mnist_fast_conv_shapes(64)) {
    const Problem<T> p(d, s);
    const Problem<float> q(cpu, s);
    const std::string name = ConvCase::name_of(s);
    const auto x0 = cpu.input(p.x0.floats()), x1 = cpu.input(p.x1.floats());
    const auto weight = cpu.input(p.weight.floats()), residual = cpu.input(p.residual.floats());
    const auto dy = cpu.input(p.dy.floats());
    auto y = cpu.output(p.outputs()), dx0 = cpu.output(x0.size()), dx1 = cpu.output(x1.size());
    auto dweight = cpu.output(weight.size()), dbias = cpu.output(s.k);
    cpu.table.conv2d({s, x0, x1, weight, nullptr, q.bias, residual, y});
    cpu.table.conv2d_backward_input({s, dy, weight, nullptr, dx0, dx1});
    cpu.table.conv2d_backward_weight({s, x0, x1, dy, dweight, dbias});
    expect_close(p.forward(true), y.doubles(), kWinograd, name);
    const auto inputs = p.backward_input();
    expect_close(inputs.dx0, dx0.doubles(), kWinograd, name + " dx0");
    expect_close(inputs.dx1, dx1.doubles(), kWinograd, name + " dx1");
    const auto weights = p.backward_weight();
    expect_close(weights.dweight, dweight.doubles(), kWinograd, name + " dweight");
    expect_close(weights.dbias, dbias.doubles(), kWinograd, name + " dbias");
  }
}

TYPED_TARGET_TEST(Conv2d, IsReproducible) {
  for (const ConvShape& s :
       {conv_shape(5, 7, 9, 20, 12, 40, 3), conv_shape(2, 14, 14, 64, 0, 64, 3),
        conv_shape(3, 5, 5, 18, 0, 33, 3, 1, true), conv_shape(7, 7, 7, 24, 40, 32, 1)}) {
    const Problem<T> p(d, s);
    expect_reproducible(
        d,
        [&]() -> std::vector<Floats> {
          const auto inputs = p.backward_input();
          const auto weights = p.backward_weight();
          return {p.forward(true).floats(), inputs.dx0.floats(), inputs.dx1.floats(),
                  weights.dweight.floats(), weights.dbias.floats()};
        },
        ConvCase::name_of(s));
  }
}

TYPED_TARGET_TEST(Conv2d, ResidualMayBeTheOutput) {
  for (const ConvShape& s : {conv_shape(2, 7, 6, 20, 0, 24, 3), conv_shape(2, 5, 5, 20, 0, 24, 1),
                             conv_shape(1, 7, 7, 64, 0, 64, 3), conv_shape(1, 7, 7, 32, 0, 1, 3)}) {
    const Problem<T> p(d, s);
    auto y = d.inout<T>(p.residual.floats());
    pick<T>(d.table.conv2d, d.table.conv2d_bf16)({s, p.x0, p.x1, p.weight, nullptr, p.bias, y, y});
    expect_same_bits(y, p.forward(true), ConvCase::name_of(s));
  }
}

// A packed weight gives the bits that packing on the spot gives, and depends on the channels alone.
TARGET_TEST(Conv2d, PackingChangesNothing) {
  const auto pack = [&](const Problem<float>& p, bool backward) {
    int64_t floats = -1;
    d.table.conv2d_pack({p.s, backward, p.weight, nullptr, &floats});
    EXPECT_GE(floats, 0);
    auto packed = d.output(floats);
    if (floats > 0) d.table.conv2d_pack({p.s, backward, p.weight, packed, nullptr});
    return packed;
  };
  for (const ConvShape& s :
       {conv_shape(1, 5, 5, 24, 0, 32, 3), conv_shape(2, 7, 7, 33, 31, 64, 3),
        conv_shape(1, 5, 5, 20, 0, 24, 3, 2), conv_shape(1, 5, 5, 20, 0, 24, 1),
        conv_shape(1, 5, 5, 18, 0, 33, 3, 1, true), conv_shape(1, 7, 7, 1, 0, 32, 3)}) {
    const Problem<float> p(d, s);
    const std::string name = ConvCase::name_of(s);
    const auto forward = pack(p, false), backward = pack(p, true);
    expect_same_bits(p.forward(true, forward), p.forward(true), name);
    expect_same_bits(p.backward_input(backward).dx0, p.backward_input().dx0, name + " dx0");
    ConvShape larger = s;
    larger.n = 3;
    larger.h = larger.w = 14;
    const Problem<float> q(d, larger);
    expect_same_bits(pack(q, false), forward, name + " packed for another size");
    expect_same_bits(pack(q, true), backward, name + " packed for another size");
  }
}

TYPED_TARGET_TEST(Conv2d, RejectsBadArguments) {
  const auto in = d.input<T>(Floats(2048));
  auto out = d.output<T>(2048);
  const T* p = in;
  T* y = out;
  const auto& conv2d = pick<T>(d.table.conv2d, d.table.conv2d_bf16);
  const auto run = [&](const ConvShape& s) {
    conv2d({s, p, s.c1 > 0 ? p : nullptr, p, nullptr, nullptr, nullptr, y});
  };
  EXPECT_NO_THROW(run(conv_shape(1, 2, 2, 3, 0, 2, 3)));
  EXPECT_THROW(run(conv_shape(0, 2, 2, 3, 0, 2, 3)), Error);
  EXPECT_THROW(run(conv_shape(1, -2, 2, 3, 0, 2, 3)), Error);
  EXPECT_THROW(run(conv_shape(1, 2, 2, 0, 0, 2, 3)), Error);
  EXPECT_THROW(run(conv_shape(1, 2, 2, 3, -1, 2, 3)), Error);
  EXPECT_THROW(run(conv_shape(1, 2, 2, 3, 0, 2, 5)), Error);
  EXPECT_THROW(run(conv_shape(1, 2, 2, 3, 0, 2, 3, 3)), Error);
  EXPECT_THROW(run(conv_shape(1, 2, 2, 3, 0, 2, 1, 1, true)), Error);
  EXPECT_THROW(run(conv_shape(1, 2, 2, 3, 0, 2, 3, 2, true)), Error);
  EXPECT_THROW(run(conv_shape(1, 2, 2, 3, 2, 2, 3, 2)), Error);
  EXPECT_THROW(run(conv_shape(1, 2, 2, 3, 2, 2, 3, 1, true)), Error);
  const ConvShape good = conv_shape(1, 2, 2, 3, 0, 2, 3);
  EXPECT_THROW(conv2d({good, nullptr, nullptr, p, nullptr, nullptr, nullptr, y}), Error);
  EXPECT_THROW(conv2d({good, p, p, p, nullptr, nullptr, nullptr, y}), Error);
  const auto& backward_input =
      pick<T>(d.table.conv2d_backward_input, d.table.conv2d_backward_input_bf16);
  EXPECT_THROW(backward_input({good, p, p, nullptr, nullptr, nullptr}), Error);
  const auto& backward_weight =
      pick<T>(d.table.conv2d_backward_weight, d.table.conv2d_backward_weight_bf16);
  EXPECT_THROW(backward_weight({good, p, nullptr, p, nullptr, nullptr}), Error);
  const auto weight = d.input(Floats(64));
  EXPECT_THROW(d.table.conv2d_pack({good, false, weight, nullptr, nullptr}), Error);
  try {
    run(conv_shape(1, 2, 2, 3, 0, 2, 3, 3));
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("stride must be 1 or 2, got 3"), std::string::npos);
  }
}

}  // namespace
}  // namespace diffscm::kernels
