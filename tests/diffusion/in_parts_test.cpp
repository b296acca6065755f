#include "diffusion/in_parts.h"

#include <gtest/gtest.h>

#include "diffusion/batch.h"
#include "kernels/error.h"

namespace diffscm {
namespace {

TEST(InParts, ANetworkIsAskedAboutSoManyImagesAtATime) {
  std::vector<int64_t> asked;
  const auto network = [&](const Tensor& x, const Tensor& t, const TimestepFunction::Bound& bound) {
    asked.push_back(x.dim(0));
    EXPECT_EQ(t.dim(0), x.dim(0));
    return combine(2, x, 3, bound.at(0));
  };
  const Tensor x = Tensor::from(std::vector<float>{1, 2, 3, 4, 5}, {5, 1, 1, 1}),
               target = Tensor::from(std::vector<float>{5, 4, 3, 2, 1}, {5, 1, 1, 1});
  const TimestepFunction f(network, {target});
  const std::vector<float> all{17, 16, 15, 14, 13};
  EXPECT_EQ(in_parts(f, 2)(x, 7).to_vector(), all);
  EXPECT_EQ(asked, (std::vector<int64_t>{2, 2, 1}));
  asked.clear();
  EXPECT_EQ(in_parts(f, 5)(x, 7).to_vector(), all);
  EXPECT_EQ(asked, std::vector<int64_t>{5});
  const std::vector<int64_t> rows{4, 0, 1};
  EXPECT_EQ(in_parts(f, 2).of(rows)(gather(x, rows), 7).to_vector(),
            (std::vector<float>{13, 17, 16}));
  EXPECT_THROW(in_parts(f, 0), Error);
}

}  // namespace
}  // namespace diffscm
