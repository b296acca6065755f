#include "data/pendulum.h"

#include <cmath>
#include <numbers>

#include "data/draws.h"
#include "engine/target.h"
#include "tests/engine/io_testing.h"

namespace diffscm::data {
namespace {

using diffscm::testing::expect_error;

std::vector<float> drawn(const PendulumParents& parents, const PendulumNoise& noise) {
  std::vector<float> image(kPendulumPixels);
  render(parents, noise, image);
  return image;
}

void expect_near(const PendulumParents& a, const PendulumParents& b) {
  EXPECT_NEAR(a.pendulum, b.pendulum, 0.01);
  EXPECT_NEAR(a.light, b.light, 0.01);
  EXPECT_NEAR(a.shadow_length, b.shadow_length, 0.01);
  EXPECT_NEAR(a.shadow_position, b.shadow_position, 0.01);
}

TEST(Pendulum, a_data_set_is_a_function_of_its_seed) {
  const Dataset a = load_dataset("pendulum", Split::test, 7);
  const int before = threads();
  set_threads(before == 1 ? 3 : 1);
  const Dataset b = load_dataset("pendulum", Split::test, 7);
  set_threads(before);
  EXPECT_EQ(a.pixels, b.pixels);
  EXPECT_EQ(a.values, b.values);
  EXPECT_NE(a.pixels, load_dataset("pendulum", Split::test, 8).pixels);
  EXPECT_EQ(a.size(), kPendulumTest);
  EXPECT_EQ(a.images(std::vector<int64_t>{0}).shape(), (Shape{1, 32, 32, 3}));
  EXPECT_EQ(a.classes, 0);
}

// Networks that were trained on these pictures must find them again.
TEST(Pendulum, the_world_does_not_change_between_versions) {
  double sum = 0, squares = 0;
  for (uint64_t i = 0; i < 8; ++i) {
    const PendulumNoise noise = sample_pendulum_noise(0, i);
    for (const float v : drawn(pendulum_parents(noise), noise)) {
      sum += v;
      squares += v * v;
    }
  }
  EXPECT_NEAR(sum, 15819.342, 0.01);
  EXPECT_NEAR(squares, 12665.210, 0.01);
}

TEST(Pendulum, shadows_follow_the_geometry) {
  PendulumNoise noise;
  // Light from straight above: the shadow lies beneath the pendulum.
  PendulumParents p = pendulum_parents(noise, {{"pendulum", 30}, {"light", 90}});
  EXPECT_NEAR(p.shadow_length, 9.5 / 2, 1e-12);
  EXPECT_NEAR(p.shadow_position, 10 + 9.5 / 4, 1e-12);
  // Along the light: as short as shadows are.
  p = pendulum_parents(noise, {{"pendulum", -30}, {"light", 60}});
  EXPECT_EQ(p.shadow_length, 3);
  EXPECT_NEAR(p.shadow_position, 10 - 11 / std::sqrt(3.0), 1e-12);
  // CausalVAE's own arithmetic, i = 20, j = 80 of its grid.
  p = pendulum_parents(noise, {{"pendulum", 18}, {"light", 72}});
  const double t = std::tan(72 * std::numbers::pi / 180), theta = 18 * std::numbers::pi / 180;
  const auto projection = [&](double x, double y) { return (-0.5 - (y - x * t)) / t; };
  const double ball = projection(10 + 9.5 * std::sin(theta), 10.5 - 9.5 * std::cos(theta));
  EXPECT_NEAR(p.shadow_length, std::abs(projection(10, 10.5) - ball), 1e-12);
  EXPECT_NEAR(p.shadow_position, (projection(10, 10.5) + ball) / 2, 1e-12);
  // The noise is kept, and what is set has no effect on its causes.
  noise.u_length = 0.25;
  p = pendulum_parents(noise, {{"pendulum", -30}, {"light", 60}});
  EXPECT_EQ(p.shadow_length, 3.25);
  p = pendulum_parents(noise, {{"shadow_length", 5}});
  EXPECT_EQ(p, (PendulumParents{0, 90, 5, 10}));
}

TEST(Pendulum, values_stay_in_their_ranges) {
  const auto attributes = pendulum_attributes();
  for (const double pendulum : {-40.0, -20.0, 0.0, 20.0, 40.0})
    for (const double light : {55.0, 70.0, 90.0, 110.0, 125.0})
      for (const double extreme : {-1.4, 1.4}) {  // 7 deviations: more than 32 bits can draw
        PendulumNoise noise;
        noise.u_length = noise.u_position = extreme;
        const auto p = pendulum_parents(noise, {{"pendulum", pendulum}, {"light", light}});
        EXPECT_NO_THROW(attributes[2].check(p.shadow_length));
        EXPECT_NO_THROW(attributes[3].check(p.shadow_position));
      }
}

TEST(Pendulum, the_data_set_knows_its_world) {
  const Dataset set = load_pendulum(Split::test, 3);
  ASSERT_NE(set.world, nullptr);
  const World& world = *set.world;
  for (const int64_t i : {int64_t{0}, int64_t{17}, kPendulumTest - 1}) {
    const Assignment factual = set.factual(i);
    const std::vector<float> image = set.images(std::vector<int64_t>{i}).to_vector();
    EXPECT_EQ(factual.size(), 4u);
    EXPECT_EQ(world.attributes(i, {}), factual);
    EXPECT_EQ(world.image(i, {}), image);
    EXPECT_EQ(world.image(i, factual), image);
  }
  expect_error([&] { world.image(kPendulumTest, {}); }, "no test image 2000");
  expect_error([&] { world.image(0, {{"light", 20}}); }, "light is 20");
  expect_error([&] { world.image(0, {{"light", NAN}}); }, "light is nan");
  expect_error([&] { world.image(0, {{"wind", 1}}); }, "\"wind\"");
  expect_error([&] { world.measure(0, std::vector<float>(10)); }, "not 10");
}

TEST(Pendulum, measuring_finds_the_attributes) {
  for (uint64_t i = 0; i < 10; ++i) {
    const PendulumNoise noise = sample_pendulum_noise(4, i);
    for (const Assignment& set :
         {Assignment{}, Assignment{{"light", 60}}, Assignment{{"pendulum", -35}, {"light", 58}},
          Assignment{{"shadow_position", 2}, {"shadow_length", 4}}}) {
      const PendulumParents p = pendulum_parents(noise, set);
      expect_near(measure_pendulum(noise, drawn(p, noise)), p);
    }
  }
}

// Of what a network might make: pixels off by a little, and pictures of nothing.
TEST(Pendulum, measuring_bears_errors) {
  for (uint64_t i = 0; i < 6; ++i) {
    const PendulumNoise noise = sample_pendulum_noise(5, i);
    const PendulumParents p = pendulum_parents(noise);
    std::vector<float> image = drawn(p, noise);
    Draws draws(1, i);
    for (float& v : image) v += static_cast<float>(0.05 * draws.normal());
    const PendulumParents found = measure_pendulum(noise, image);
    EXPECT_NEAR(found.pendulum, p.pendulum, 1);
    EXPECT_NEAR(found.light, p.light, 1);
    EXPECT_NEAR(found.shadow_length, p.shadow_length, 0.25);
    EXPECT_NEAR(found.shadow_position, p.shadow_position, 0.25);
  }
  const PendulumParents nothing =
      measure_pendulum(PendulumNoise{}, std::vector<float>(kPendulumPixels, NAN));
  EXPECT_NO_THROW(pendulum_attributes()[0].check(nothing.pendulum));
}

TEST(Pendulum, each_attribute_changes_its_own_rows) {
  const auto rows = [](const std::vector<float>& a, const std::vector<float>& b) {
    std::pair<int, int> range{kPendulumSide, -1};
    for (int i = 0; i < kPendulumPixels; ++i)
      if (a[static_cast<size_t>(i)] != b[static_cast<size_t>(i)]) {
        range.first = std::min(range.first, i / static_cast<int>(kPendulumSide * 3));
        range.second = std::max(range.second, i / static_cast<int>(kPendulumSide * 3));
      }
    return range;
  };
  PendulumParents base;
  for (const double pendulum : {-40.0, -10.0, 0.5, 40.0}) {
    PendulumParents other = base;
    other.pendulum = pendulum;
    const auto [top, bottom] = rows(drawn(base, {}), drawn(other, {}));
    EXPECT_TRUE(top > 10 && bottom < 29) << top << " " << bottom;
  }
  PendulumParents lit = base, shaded = base;
  lit.light = 60;
  shaded.shadow_position = 15;
  EXPECT_LE(rows(drawn(base, {}), drawn(lit, {})).second, 10);
  EXPECT_GE(rows(drawn(base, {}), drawn(shaded, {})).first, 29);
}

}  // namespace
}  // namespace diffscm::data
