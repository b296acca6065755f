// The convolution of every target against plain loops in double precision, and its contract: every
// output element written, the residual may be the output, packing changes nothing.
#include "tests/conv_cases.h"
#include "tests/kernels/conv2d_problem.h"
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

template <class T>
void check_forward(const Device& d, const ConvShape& s, const std::string& name) {
  const ConvProblem<T> p(d, s);
  const Floats x = p.concatenated(), weight = p.weight.floats();
  expect_close(p.forward(false), reference::conv2d(s, x, weight, {}, {}), tolerance(d), name);
  expect_close(p.forward(true),
               reference::conv2d(s, x, weight, p.bias.floats(), p.residual.floats()), tolerance(d),
               name + " with bias and residual");
}

template <class T>
void check_backward_input(const Device& d, const ConvShape& s, const std::string& name) {
  const ConvProblem<T> p(d, s);
  const auto g = p.backward_input();
  expect_close(p.interleave(g.dx0.floats(), g.dx1.floats()),
               reference::conv2d_backward_input(s, p.weight.floats(), p.dy.floats()), tolerance(d),
               name, kRounding<T>);
}

template <class T>
void check_backward_weight(const Device& d, const ConvShape& s, const std::string& name) {
  const ConvProblem<T> p(d, s);
  const auto g = p.backward_weight();
  const Floats dy = p.dy.floats();
  expect_close(g.dweight, reference::conv2d_backward_weight(s, p.concatenated(), dy), tolerance(d),
               name + " dweight");
  // A sum of `pixels` standard normals has the size of their root; a single one (k = 1) may be far
  // smaller by cancellation, which says nothing about the sum's own error.
  const int64_t pixels = p.outputs() / s.k;
  const Floats dbias = g.dbias.floats();
  const Doubles want = reference::column_sum(pixels, s.k, to_double(dy));
  for (int64_t k = 0; k < s.k; ++k)
    EXPECT_NEAR(dbias[k], want[k], tolerance(d) * std::sqrt(pixels)) << name << " dbias " << k;
  expect_same_bits(p.backward_weight(false).dweight, g.dweight, name + " without dbias");
}

using Check = void (*)(const Device&, const ConvShape&, const std::string&);
void check_all(Device& d, Check check) {
  for (const ConvCase& k : d.affordable(conv_cases())) check(d, k.shape, k.name);
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

// From f32 to bf16 and back, weights f32: what the convolution in f32 gives between casts.
TARGET_TEST_ON("emu cuda", Conv2d, MixedTypesAreF32BetweenCasts) {
  for (const ConvCase& k : d.affordable(conv_cases())) {
    const ConvShape& s = k.shape;
    const ConvProblem<float> p(d, s);
    const auto narrow0 = d.input<bf16>(p.x0.floats()), narrow1 = d.input<bf16>(p.x1.floats());
    const auto wide0 = d.input(narrow0.floats()), wide1 = d.input(narrow1.floats());
    const auto residual = d.input<bf16>(p.residual.floats());
    const auto again = d.input(residual.floats());

    auto y = d.output(p.outputs());
    d.table.conv2d({s, p.x0, p.x1, p.weight, nullptr, p.bias, again, y});
    auto to_narrow = d.output<bf16>(p.outputs());
    d.table.conv2d_f32_bf16({s, p.x0, p.x1, p.weight, nullptr, p.bias, residual, to_narrow});
    expect_same_bits(to_narrow, d.input<bf16>(y.floats()), k.name + " to bf16");

    d.table.conv2d({s, wide0, wide1, p.weight, nullptr, p.bias, p.residual, y});
    auto from_narrow = d.output(p.outputs());
    d.table.conv2d_bf16_f32(
        {s, narrow0, narrow1, p.weight, nullptr, p.bias, p.residual, from_narrow});
    expect_same_bits(from_narrow, y, k.name + " from bf16");

    auto dx0 = d.output(p.x0.size()), dx1 = d.output(p.x1.size());
    auto narrow_dx0 = d.output<bf16>(p.x0.size()), narrow_dx1 = d.output<bf16>(p.x1.size());
    d.table.conv2d_backward_input({s, p.dy, p.weight, nullptr, dx0, dx1});
    d.table.conv2d_backward_input_f32_bf16({s, p.dy, p.weight, nullptr, narrow_dx0, narrow_dx1});
    expect_same_bits(narrow_dx0, d.input<bf16>(dx0.floats()), k.name + " dx0 to bf16");
    expect_same_bits(narrow_dx1, d.input<bf16>(dx1.floats()), k.name + " dx1 to bf16");

    const auto narrow_dy = d.input<bf16>(p.dy.floats());
    const auto wide_dy = d.input(narrow_dy.floats());
    auto again0 = d.output(p.x0.size()), again1 = d.output(p.x1.size());
    d.table.conv2d_backward_input({s, wide_dy, p.weight, nullptr, dx0, dx1});
    d.table.conv2d_backward_input_bf16_f32({s, narrow_dy, p.weight, nullptr, again0, again1});
    expect_same_bits(again0, dx0, k.name + " dx0 from bf16");
    expect_same_bits(again1, dx1, k.name + " dx1 from bf16");
  }
}

// At a batch that fills a GPU, with the cpu target as the reference.
TYPED_TARGET_TEST_ON("cuda", Conv2d, LargeBatchMatchesCpu) {
  const Device cpu(kTargets[0]);
  std::vector<ConvShape> shapes = mnist_fast_conv_shapes(64);
  shapes.push_back(conv_shape(17, 32, 32, 8, 0, 136, 3));        // for the widest tile, on any GPU
  shapes.push_back(conv_shape(700, 7, 7, 8, 0, 8, 3, 1, true));  // several of a block's
  for (const ConvShape& s : shapes) {
    const ConvProblem<T> p(d, s);
    const ConvProblem<float> q(cpu, s);
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
    const ConvProblem<T> p(d, s);
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
    const ConvProblem<T> p(d, s);
    auto y = d.inout<T>(p.residual.floats());
    d.table.of(BasicConv2dArgs<T>{})({s, p.x0, p.x1, p.weight, nullptr, p.bias, y, y});
    expect_same_bits(y, p.forward(true), ConvCase::name_of(s));
  }
}

// A packed weight gives the bits that packing on the spot gives, and depends on the channels alone.
TYPED_TARGET_TEST(Conv2d, PackingChangesNothing) {
  const auto& conv2d_pack = d.table.of(BasicConv2dPackArgs<T>{});
  const auto pack = [&](const ConvProblem<T>& p, bool backward) {
    int64_t elements = -1;
    conv2d_pack({p.s, backward, p.weight, nullptr, &elements});
    EXPECT_GE(elements, 0);
    auto packed = d.output<T>(elements);
    if (elements > 0) conv2d_pack({p.s, backward, p.weight, packed, nullptr});
    return packed;
  };
  for (const ConvShape& s :
       {conv_shape(1, 5, 5, 24, 0, 32, 3), conv_shape(2, 7, 7, 33, 31, 64, 3),
        conv_shape(1, 5, 5, 20, 0, 24, 3, 2), conv_shape(1, 5, 5, 20, 0, 24, 1),
        conv_shape(1, 5, 5, 18, 0, 33, 3, 1, true), conv_shape(1, 5, 5, 16, 0, 24, 3, 1, true),
        conv_shape(1, 7, 7, 1, 0, 32, 3)}) {
    const ConvProblem<T> p(d, s);
    const std::string name = ConvCase::name_of(s);
    const auto forward = pack(p, false), backward = pack(p, true);
    expect_same_bits(p.forward(true, forward), p.forward(true), name);
    expect_same_bits(p.backward_input(backward).dx0, p.backward_input().dx0, name + " dx0");
    ConvShape larger = s;
    larger.n = 3;
    larger.h = larger.w = 14;
    const ConvProblem<T> q(d, larger);
    expect_same_bits(pack(q, false), forward, name + " packed for another size");
    expect_same_bits(pack(q, true), backward, name + " packed for another size");
  }
}

TYPED_TARGET_TEST(Conv2d, RejectsBadArguments) {
  const auto in = d.input<T>(Floats(2048));
  auto out = d.output<T>(2048);
  const T* p = in;
  T* y = out;
  const auto& conv2d = d.table.of(BasicConv2dArgs<T>{});
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
  const auto& backward_input = d.table.of(BasicConv2dBackwardInputArgs<T>{});
  EXPECT_THROW(backward_input({good, p, p, nullptr, nullptr, nullptr}), Error);
  const auto& backward_weight = d.table.of(BasicConv2dBackwardWeightArgs<T>{});
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
