// Moments of a tensor's channels, which group norm leaves with the tensor for the next.
#include "autograd/dispatch.h"
#include "autograd/functions.h"
#include "engine/captured_step.h"
#include "tests/autograd/gradient_check.h"

namespace diffscm {
namespace {

using testing::random_tensor;

// Group norm before a convolution of so many channels.
struct NormAndConv {
  Variable gamma, beta, weight;

  explicit NormAndConv(int64_t c)
      : gamma(random_tensor({c}, 4).to(Target::emu)),
        beta(random_tensor({c}, 5).to(Target::emu)),
        weight(random_tensor({16, 3, 3, c}, 7).to(Target::emu)) {}

  Tensor operator()(const Tensor& x, const Tensor& x1) const {
    const NoGrad no_grad;
    return normalised_conv2d(x, x1, gamma, beta, {}, {.groups = 8, .silu = true}, weight, {}, {})
        .value();
  }
};

TEST(Moments, MomentsStayWithWhatWasNormalised) {
  const auto image = [](int64_t channels, uint32_t seed) {
    return cast(random_tensor({2, 6, 5, channels}, seed).to(Target::emu), Dtype::bf16);
  };
  Tensor x = image(24, 1);
  const Tensor other = image(8, 2);
  const NormAndConv alone(24), both(32);
  const auto fresh = [&] { return both(other.clone(), x.clone()).to_vector(); };
  EXPECT_FALSE(x.found("channel moments"));
  alone(x, {});
  const Tensor moments = x.found("channel moments");
  ASSERT_TRUE(moments);
  EXPECT_EQ(moments.shape(), (Shape{2, 24, 2}));
  const std::vector<float> expected = fresh();
  EXPECT_EQ(both(other, x).to_vector(), expected);
  x.keep("channel moments", Tensor::full({2, 24, 2}, 9, Target::emu));
  EXPECT_NE(both(other, x).to_vector(), expected) << "they were not asked";

  x.copy_from(image(24, 3));
  EXPECT_FALSE(x.found("channel moments"));
  EXPECT_EQ(both(other, x).to_vector(), fresh());
}

// Of what a step makes, and of what it is given.
TEST(Moments, ReplaysMakeMomentsAgain) {
  const auto image = [](uint32_t seed) {
    return cast(random_tensor({2, 6, 5, 8}, seed).to(Target::emu), Dtype::bf16);
  };
  Tensor x = image(1), out;
  const NormAndConv alone(8), both(16);
  CapturedStep step(Target::emu, [&] {
    const Tensor twice = add(x, x);
    alone(x, {});
    alone(twice, {});
    out = both(twice, x);
  });
  for (uint32_t seed = 1; seed < 6; ++seed) {
    x.copy_from(image(seed));
    step.run();
    EXPECT_EQ(out.to_vector(), both(add(x, x).clone(), x.clone()).to_vector()) << seed;
  }
}

}  // namespace
}  // namespace diffscm
