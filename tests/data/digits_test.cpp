#include "data/digits.h"

#include <cmath>

#include "data/draws.h"
#include "data/glyphs.h"
#include "engine/target.h"
#include "tests/engine/io_testing.h"

namespace diffscm::data {
namespace {

using diffscm::testing::expect_error;

double ink(const std::vector<float>& image) {
  double sum = 0;
  for (const float v : image) sum += (v + 1) / 2;
  return sum;
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(a[i] - b[i], 2);
  return std::sqrt(sum);
}

std::vector<float> do_image(const DigitNoise& noise, const DigitIntervention& intervention) {
  return render(counterfactual(noise, intervention), noise);
}

TEST(Digits, a_data_set_is_a_function_of_its_seed) {
  const Dataset a = load_dataset("digits", Split::test, 7);
  const int before = threads();
  set_threads(before == 1 ? 3 : 1);
  const Dataset b = load_dataset("digits", Split::test, 7);
  set_threads(before);
  EXPECT_EQ(a.pixels, b.pixels);
  EXPECT_EQ(a.labels, b.labels);
  EXPECT_NE(a.pixels, load_dataset("digits", Split::test, 8).pixels);
  EXPECT_EQ(a.size(), kDigitsTest);
  EXPECT_EQ(a.classes, 10);
  EXPECT_EQ(a.images(std::vector<int64_t>{0}).shape(), (Shape{1, 28, 28, 1}));
}

TEST(Digits, the_world_does_not_change_between_versions) {
  std::vector<int> digits;
  for (uint64_t i = 0; i < 8; ++i) digits.push_back(factual_parents(sample_noise(0, i)).digit);
  EXPECT_EQ(digits, (std::vector<int>{9, 3, 5, 7, 6, 1, 5, 2}));
}

TEST(Digits, images_are_those_of_the_noise) {
  const Dataset set = load_digits(Split::test, 3);
  for (const int64_t i : {int64_t{0}, int64_t{17}, kDigitsTest - 1}) {
    const DigitNoise noise = sample_noise(3, world_index(Split::test, i));
    EXPECT_EQ(set.images(std::vector<int64_t>{i}).to_vector(),
              render(factual_parents(noise), noise));
    EXPECT_EQ(set.labels[static_cast<size_t>(i)], factual_parents(noise).digit);
  }
}

TEST(Digits, train_and_test_share_no_image) {
  EXPECT_GT(world_index(Split::test, 0), world_index(Split::train, kDigitsTrain - 1));
  EXPECT_NE(render({3, 2, 1, 0}, sample_noise(0, world_index(Split::train, 5))),
            render({3, 2, 1, 0}, sample_noise(0, world_index(Split::test, 5))));
}

TEST(Digits, the_population_follows_the_equations) {
  constexpr int kCount = 20000;
  std::array<int, 10> count{};
  double thickness = 0, squares = 0, intensity_residual = 0;
  for (uint64_t i = 0; i < kCount; ++i) {
    const DigitNoise noise = sample_noise(1, i);
    const DigitParents parents = factual_parents(noise);
    ++count[static_cast<size_t>(parents.digit)];
    thickness += parents.thickness;
    squares += parents.thickness * parents.thickness;
    const double logit = std::log((255 * parents.intensity - 96) / (255 - 255 * parents.intensity));
    intensity_residual += std::pow(logit - (2 * parents.thickness - 5), 2);
  }
  for (const int c : count) EXPECT_NEAR(c, kCount / 10, 5 * std::sqrt(kCount * 0.09));
  const double mean = thickness / kCount;
  EXPECT_NEAR(mean, 0.5 + 10 / 4.0, 0.03);                       // of Gamma(10, 4)
  EXPECT_NEAR(squares / kCount - mean * mean, 10 / 16.0, 0.04);  // its variance
  EXPECT_NEAR(intensity_residual / kCount, 0.25, 0.02);          // of u_intensity / 2
}

TEST(Digits, no_intervention_changes_nothing) {
  for (uint64_t i = 0; i < 50; ++i) {
    const DigitNoise noise = sample_noise(2, i);
    const DigitParents factual = factual_parents(noise);
    EXPECT_EQ(counterfactual(noise, {}), factual);
    EXPECT_EQ(counterfactual(noise, {factual.digit, {}, {}, {}}), factual);
    EXPECT_EQ(do_image(noise, {factual.digit, factual.thickness, factual.intensity, factual.slant}),
              render(factual, noise));
  }
}

TEST(Digits, interventions_follow_the_graph) {
  const DigitNoise noise = sample_noise(2, 0);
  const DigitParents factual = factual_parents(noise);
  const int other = (factual.digit + 1) % 10;
  // do(digit) changes nothing but the digit.
  EXPECT_EQ(counterfactual(noise, {other, {}, {}, {}}),
            (DigitParents{other, factual.thickness, factual.intensity, factual.slant}));
  // do(thickness) changes the intensity through its equation: thicker is brighter.
  const DigitParents thick = counterfactual(noise, {{}, factual.thickness + 1, {}, {}});
  const double logit = noise.u_intensity / 2 + 2 * (factual.thickness + 1) - 5;
  EXPECT_DOUBLE_EQ(thick.intensity, (96 + 159 / (1 + std::exp(-logit))) / 255);
  EXPECT_GT(thick.intensity, factual.intensity);
  EXPECT_EQ(thick.digit, factual.digit);
  // do(intensity) has no effect on its cause, and wins over the equation.
  EXPECT_EQ(counterfactual(noise, {{}, {}, 0.25, {}}),
            (DigitParents{factual.digit, factual.thickness, 0.25, factual.slant}));
  EXPECT_EQ(counterfactual(noise, {{}, 4.0, 0.25, {}}),
            (DigitParents{factual.digit, 4.0, 0.25, factual.slant}));
}

TEST(Digits, counterfactuals_keep_the_style) {
  // The same noise draws the same image whichever way the digit got its value.
  for (uint64_t i = 0; i < 20; ++i) {
    const DigitNoise noise = sample_noise(4, i);
    DigitNoise reborn = noise;
    reborn.u_digit = 0.75;  // a seven by its own equation
    EXPECT_EQ(do_image(noise, {7, {}, {}, {}}), render(factual_parents(reborn), reborn));
  }
}

TEST(Digits, impossible_interventions_are_refused) {
  const DigitNoise noise = sample_noise(0, 0);
  expect_error([&] { counterfactual(noise, {10, {}, {}, {}}); }, "do(digit = 10)");
  expect_error([&] { counterfactual(noise, {-1, {}, {}, {}}); }, "do(digit = -1)");
  expect_error([&] { counterfactual(noise, {{}, 0.1, {}, {}}); }, "do(thickness = 0.1)");
  expect_error([&] { counterfactual(noise, {{}, NAN, {}, {}}); }, "do(thickness = nan)");
  expect_error([&] { counterfactual(noise, {{}, {}, 1.5, {}}); }, "do(intensity = 1.5)");
  expect_error([&] { counterfactual(noise, {{}, {}, {}, 0.6}); }, "do(slant = 0.6)");
  std::vector<float> small(10);
  expect_error([&] { render({0, 2, 1, 0}, noise, small); }, "not 10");
}

TEST(Digits, the_data_set_knows_its_world) {
  const Dataset set = load_digits(Split::test, 3);
  ASSERT_NE(set.world, nullptr);
  EXPECT_EQ(set.label_attribute().name, "digit");
  EXPECT_EQ(set.plausible_targets(0), (std::vector<int64_t>{3, 6, 8}));
  const World& world = *set.world;
  const auto image = [&](int64_t i) { return set.images(std::vector<int64_t>{i}).to_vector(); };
  for (const int64_t i : {int64_t{0}, kDigitsTest - 1}) {
    const Assignment factual = set.factual(i);
    EXPECT_EQ(factual.size(), 4u);
    EXPECT_EQ(factual.at("digit"), static_cast<double>(set.labels[static_cast<size_t>(i)]));
    EXPECT_EQ(world.attributes(i, {}), factual);
    EXPECT_EQ(world.image(i, {}), image(i));
    EXPECT_EQ(world.image(i, factual), image(i));
  }
  const DigitNoise noise = sample_noise(3, world_index(Split::test, 5));
  const double thicker = set.factual(5).at("thickness") + 1;
  EXPECT_GT(world.attributes(5, {{"thickness", thicker}}).at("intensity"),
            set.factual(5).at("intensity"));
  EXPECT_EQ(world.image(5, {{"thickness", thicker}, {"class", 2}}),
            do_image(noise, {2, thicker, {}, {}}));
  expect_error([&] { world.image(kDigitsTest, {}); }, "no test image 2000");
  expect_error([&] { world.image(0, {{"digit", 10}}); }, "digit 10 is not one of its 10");
  expect_error([&] { world.image(0, {{"digit", 2.5}}); }, "digit 2.5");
  expect_error([&] { world.image(0, {{"colour", 1}}); }, "\"colour\"");
}

TEST(Digits, measuring_finds_what_was_drawn) {
  const Dataset set = load_digits(Split::test, 3);
  int wrong = 0;
  for (int64_t i = 0; i < 12; ++i) {
    const int other = (static_cast<int>(set.labels[static_cast<size_t>(i)]) + 3) % 10;
    for (const Assignment& change :
         {Assignment{}, Assignment{{"digit", other}}, Assignment{{"thickness", 4.5}}}) {
      const Assignment truth = set.world->attributes(i, change);
      const Assignment found = set.world->measure(i, set.world->image(i, change));
      ASSERT_EQ(found.size(), 4u);
      if (found.at("digit") != truth.at("digit")) {
        ++wrong;
        continue;
      }
      EXPECT_NEAR(found.at("slant"), truth.at("slant"), 0.01);
      EXPECT_NEAR(found.at("thickness"), truth.at("thickness"), 0.02);
      EXPECT_NEAR(found.at("intensity"), truth.at("intensity"), 0.01);
    }
  }
  EXPECT_EQ(wrong, 0);
  expect_error([&] { set.world->measure(0, std::vector<float>(10)); }, "not 10");
}

TEST(Digits, slant_leans_to_the_right) {
  // Where the ink of the upper half lies, to the right of the lower half's.
  const auto lean = [](const std::vector<float>& image) {
    double centre[2] = {}, mass[2] = {};
    for (int64_t i = 0; i < kDigitPixels; ++i) {
      const double v = (image[static_cast<size_t>(i)] + 1) / 2;
      centre[i / kDigitSide >= 14] += v * static_cast<double>(i % kDigitSide);
      mass[i / kDigitSide >= 14] += v;
    }
    return centre[0] / mass[0] - centre[1] / mass[1];
  };
  for (uint64_t i = 0; i < 20; ++i) {
    const DigitNoise noise = sample_noise(6, i);
    double before = -100;
    for (const double slant : {-0.5, -0.2, 0.1, 0.5}) {
      const double now = lean(do_image(noise, {{}, {}, {}, slant}));
      EXPECT_GT(now, before + 0.5);
      before = now;
    }
  }
}

TEST(Digits, images_are_visible_and_in_range) {
  for (uint64_t i = 0; i < 300; ++i) {
    const DigitNoise noise = sample_noise(5, i);
    const DigitParents parents = factual_parents(noise);
    const std::vector<float> image = render(parents, noise);
    for (const float v : image) ASSERT_TRUE(v >= -1 && v <= 2 * parents.intensity - 1 + 1e-6);
    EXPECT_GT(ink(image), 5);
    EXPECT_LT(ink(image), 400);
  }
}

TEST(Digits, thickness_and_intensity_do_what_they_say) {
  for (uint64_t i = 0; i < 20; ++i) {
    const DigitNoise noise = sample_noise(6, i);
    double before = 0;
    for (const double thickness : {0.5, 1.0, 2.0, 3.0, 5.0, 8.0}) {
      const double now = ink(do_image(noise, {{}, thickness, 1.0, {}}));
      EXPECT_GT(now, before);
      before = now;
    }
    EXPECT_NEAR(ink(do_image(noise, {{}, 3.0, 0.5, {}})),
                0.5 * ink(do_image(noise, {{}, 3.0, 1.0, {}})), 1e-3);
  }
  // A vertical stroke of width 3 covers 3 pixels of a row.
  DigitNoise plain;
  plain.hand = 0;
  const std::vector<float> one = render({1, 3.0, 1.0, 0}, plain);
  double row = 0;
  for (int x = 0; x < 28; ++x) row += (one[static_cast<size_t>(14 * 28 + x)] + 1) / 2;
  EXPECT_NEAR(row, 3.0, 0.1);
}

TEST(Digits, every_way_of_writing_fits_and_differs) {
  std::vector<std::vector<float>> images;
  for (int digit = 0; digit < 10; ++digit)
    for (const double hand : {0.0, 0.3, 0.6, 0.999}) {
      size_t points = 0;
      for (const Stroke& stroke : glyph(digit, hand)) {
        points += stroke.points.size();
        EXPECT_GE(stroke.points.size(), 2u);
        for (const StrokePoint& p : stroke.points)
          EXPECT_TRUE(p.x >= 0 && p.x <= 1 && p.y >= 0 && p.y <= 1);
      }
      EXPECT_LE(points, static_cast<size_t>(kMaxGlyphPoints));
      DigitNoise plain;
      plain.hand = hand;
      images.push_back(render({digit, 2.5, 1.0, 0}, plain));
    }
  for (size_t i = 0; i < images.size(); ++i)
    for (size_t j = 0; j < i / 4 * 4; ++j)
      EXPECT_GT(distance(images[i], images[j]), 5) << i / 4 << " " << j / 4;
  expect_error([] { glyph(10, 0); }, "digit 10");
}

}  // namespace
}  // namespace diffscm::data
