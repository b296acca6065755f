#include "causal/mechanisms/measurement.h"

#include <cmath>

#include "tests/causal/scm_testing.h"

namespace diffscm::causal {
namespace {

Role role(const std::string& of) {
  Node node = number("measured", {"image"}), image = number("image");
  node.mechanism = {"measurement", {{"of", of}}};
  image.kind = NodeKind::image;
  return {node, {image}};
}

// A white bar of 4 x 20 pixels, and nothing.
Values images() {
  Tensor t = Tensor::full({2, 28, 28, 1}, -1);
  for (int64_t y = 12; y < 16; ++y)
    for (int64_t x = 4; x < 24; ++x) t.mutable_data()[y * 28 + x] = 1;
  return Values(t);
}

double measured(const std::string& of, size_t row = 0) {
  const auto m = make_mechanism(role(of));
  const Values picture = images();
  return m->predict(Values(std::vector<double>{0, 0}), std::vector<const Values*>{&picture})
      .numbers[row];
}

TEST(Measurement, ReadsAnImage) {
  const double share = 80.0 / 784, level = 1;
  EXPECT_NEAR(measured("brightness"), share * level, 1e-6);
  EXPECT_NEAR(measured("contrast"), level * std::sqrt(share * (1 - share)), 1e-6);
  EXPECT_NEAR(measured("ink"), share, 1e-9);
  EXPECT_NEAR(measured("intensity"), 255, 0);
  EXPECT_NEAR(measured("thickness"), 3.83125, 1e-6);  // as Morpho-MNIST measures it
  EXPECT_NEAR(measured("slant"), 0, 1e-9);
  EXPECT_EQ(measured("thickness", 1), 0);
}

TEST(Measurement, IsAnAdditiveNoiseModel) {
  const auto m = make_mechanism(role("brightness"));
  const Values picture = images(), value(std::vector<double>{0.3, 0.1});
  const std::vector<const Values*> parents{&picture};
  const std::vector<int64_t> rows{0, 1};
  const RowRandom random{{.seed = 1}, rows};
  expect_error([&] { m->draw_noise(random); }, "not fitted");
  m->fit(value, parents, {});
  const Values noise = m->abduct(value, parents, random);
  EXPECT_EQ(m->predict(noise, parents).numbers, value.numbers);
  const double mean = (noise.numbers[0] + noise.numbers[1]) / 2,
               deviation = std::abs(noise.numbers[0] - mean);
  EXPECT_NEAR(m->log_density(value, parents)[0], -0.5 - std::log(deviation * std::sqrt(2 * M_PI)),
              1e-9);
  const auto again = make_mechanism(role("brightness"));
  again->load(m->state());
  EXPECT_EQ(again->draw_noise(random).numbers, m->draw_noise(random).numbers);
}

TEST(Measurement, RefusesOtherNodes) {
  expect_error([] { make_mechanism(role("colour")); }, "colour");
  Role tabular = role("ink");
  tabular.parents[0].kind = NodeKind::continuous;
  expect_error([&] { make_mechanism(tabular); }, "one parent, an image");
}

}  // namespace
}  // namespace diffscm::causal
