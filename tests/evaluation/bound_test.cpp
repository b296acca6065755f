#include "evaluation/bound.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/models/tiny_models.h"

namespace diffscm {
namespace {

TEST(Bound, PairsAreTheTruthOfThePlausibleTargetsTheyName) {
  const data::Dataset digits = data::load_dataset("digits", data::Split::test);
  const std::vector<int64_t> index{0, 3, 5, 7, 11, 13};
  const CounterfactualPairs pairs = draw_pairs(digits, index, 1, 0),
                            again = draw_pairs(digits, index, 1, 0),
                            later = draw_pairs(digits, index, 1, 1);
  EXPECT_EQ(pairs.targets, again.targets);
  EXPECT_NE(pairs.targets, later.targets);
  const auto size = static_cast<size_t>(digits.height * digits.width * digits.channels);
  const std::vector<float> truth = pairs.truth.to_vector();
  for (size_t i = 0; i < index.size(); ++i) {
    const int64_t label = digits.labels[static_cast<size_t>(index[i])];
    const auto plausible = digits.plausible_targets(label);
    EXPECT_NE(pairs.targets[i], label);
    EXPECT_NE(std::find(plausible.begin(), plausible.end(), pairs.targets[i]), plausible.end());
    const auto expected = digits.world->image(
        index[i], {{digits.label_attribute().name, static_cast<double>(pairs.targets[i])}});
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), truth.begin() + i * size)) << i;
  }
}

TEST(Bound, AnswersForTheTargetItIsTold) {
  data::Dataset two;
  two.height = two.width = 8;
  two.channels = 1;
  two.pixels.assign(128, 0);
  two.add(data::numbered_category("digit", 2), {0, 1});
  UNetConfig config = testing::tiny_unet_config();
  config.norm_groups = 8;
  Bound bound(Bound::configure(config, two), 1);
  testing::randomise(bound);
  const Tensor x = testing::random_tensor({1, 8, 8, 1}, 3);
  const std::vector<int64_t> zero{0}, one{1};
  EXPECT_EQ(bound.answer(x, zero).shape(), x.shape());
  EXPECT_NE(bound.answer(x, zero).to_vector(), bound.answer(x, one).to_vector());
  const std::vector<int64_t> two_of_two{2};
  EXPECT_THROW(bound.answer(x, two_of_two), Error);
}

}  // namespace
}  // namespace diffscm
