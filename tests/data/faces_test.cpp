#include "data/faces.h"

#include <cmath>

#include "data/draws.h"
#include "engine/target.h"
#include "tests/engine/io_testing.h"

namespace diffscm::data {
namespace {

using diffscm::testing::expect_error;

std::vector<float> drawn(const FaceParents& parents, const FaceNoise& noise,
                         int64_t side = kFaceSide) {
  std::vector<float> image(static_cast<size_t>(side * side * 3));
  render(parents, noise, side, image);
  return image;
}

std::vector<float> image_of(const Dataset& set, int64_t i) {
  return set.images(std::vector<int64_t>{i}).to_vector();
}

TEST(Faces, a_data_set_is_a_function_of_its_seed) {
  const Dataset a = load_dataset("faces", Split::test, 7);
  const int before = threads();
  set_threads(before == 1 ? 3 : 1);
  const Dataset b = load_dataset("faces", Split::test, 7);
  set_threads(before);
  EXPECT_EQ(a.pixels, b.pixels);
  EXPECT_EQ(a.values, b.values);
  EXPECT_NE(a.pixels, load_dataset("faces", Split::test, 8).pixels);
  EXPECT_EQ(a.size(), kFacesTest);
  EXPECT_EQ(a.images(std::vector<int64_t>{0}).shape(), (Shape{1, 32, 32, 3}));
  EXPECT_EQ(a.attributes[0].name, "Young");
}

// Networks that were trained on these pictures must find them again.
TEST(Faces, the_world_does_not_change_between_versions) {
  std::vector<int> parents;
  double sum = 0, squares = 0;
  for (uint64_t i = 0; i < 8; ++i) {
    const FaceNoise noise = sample_face_noise(0, i);
    const FaceParents p = face_parents(noise);
    parents.push_back(p.young + 2 * p.male + 4 * p.shaven + 8 * p.bald);
    for (const float v : drawn(p, noise)) {
      sum += v;
      squares += v * v;
    }
  }
  EXPECT_EQ(parents, (std::vector<int>{3, 14, 5, 3, 5, 2, 7, 10}));
  EXPECT_NEAR(sum, 2913.987, 0.01);
  EXPECT_NEAR(squares, 5096.721, 0.01);
}

TEST(Faces, the_population_follows_the_tables) {
  constexpr int kCount = 40000;
  int all[2][2] = {}, bearded[2][2] = {}, haired[2][2] = {};
  for (uint64_t i = 0; i < kCount; ++i) {
    const FaceParents p = face_parents(sample_face_noise(1, i));
    ++all[p.young][p.male];
    bearded[p.young][p.male] += !p.shaven;
    haired[p.young][p.male] += !p.bald;
  }
  const auto near = [](int hits, int count, double p) {
    EXPECT_NEAR(hits, count * p, 4.5 * std::sqrt(count * p * (1 - p)));
  };
  for (const int young : {0, 1})
    for (const int male : {0, 1}) {
      const double p = (young == 1 ? 1 - kOld : kOld) * (male == 1 ? 1 - kFemale : kFemale);
      near(all[young][male], kCount, p);
      near(bearded[young][male], all[young][male], kBearded[young][male]);
      near(haired[young][male], all[young][male], kHaired[young][male]);
    }
}

const Dataset& test_faces() {
  static const Dataset set = load_faces(Split::test, 3);
  return set;
}

TEST(Faces, the_data_set_knows_its_world) {
  const Dataset& set = test_faces();
  ASSERT_NE(set.world, nullptr);
  const World& world = *set.world;
  for (const int64_t i : {int64_t{0}, int64_t{17}, kFacesTest - 1}) {
    const Assignment factual = set.factual(i);
    EXPECT_EQ(factual.size(), 4u);
    EXPECT_EQ(world.attributes(i, {}), factual);
    EXPECT_EQ(world.image(i, {}), image_of(set, i));
    EXPECT_EQ(world.image(i, factual), image_of(set, i));
  }
  expect_error([&] { world.image(kFacesTest, {}); }, "no test image 2000");
  expect_error([&] { world.image(-1, {}); }, "no test image -1");
  expect_error([&] { world.image(0, {{"Male", 2}}); }, "Male 2 is not one of its 2");
  expect_error([&] { world.image(0, {{"Smiling", 1}}); }, "\"Smiling\"");
  expect_error([&] { world.measure(0, std::vector<float>(10)); }, "not 10");
}

TEST(Faces, descendants_follow_with_their_noise) {
  FaceNoise noise;
  noise.u_young = 0.1;   // old
  noise.u_male = 0.2;    // a woman
  noise.u_shaven = 0.3;  // without a beard, but with one as a man
  noise.u_bald = 0.7;    // with hair, but without as a man
  EXPECT_EQ(face_parents(noise), (FaceParents{false, false, true, false}));
  EXPECT_EQ(face_parents(noise, {{"Male", 1}}), (FaceParents{false, true, false, true}));
  EXPECT_EQ(face_parents(noise, {{"Male", 1}, {"Young", 1}}),
            (FaceParents{true, true, false, false}));
  // What is set stays, and moves none of its causes.
  EXPECT_EQ(face_parents(noise, {{"Male", 1}, {"Bald", 0}}),
            (FaceParents{false, true, false, false}));
  EXPECT_EQ(face_parents(noise, {{"No_Beard", 0}}), (FaceParents{false, false, false, false}));
}

TEST(Faces, measuring_finds_the_attributes) {
  const Dataset& set = test_faces();
  for (int64_t i = 0; i < 30; ++i) {
    EXPECT_EQ(set.world->measure(i, image_of(set, i)), set.factual(i));
    const Assignment change = {{"Male", 1 - set.factual(i).at("Male")}};
    EXPECT_EQ(set.world->measure(i, set.world->image(i, change)), set.world->attributes(i, change));
  }
}

// Twice as large, the same faces: their 2 x 2 means are the small ones but for the edges.
TEST(Faces, large_faces_are_the_same_faces) {
  for (uint64_t i = 0; i < 10; ++i) {
    const FaceNoise noise = sample_face_noise(5, i);
    const FaceParents parents = face_parents(noise);
    const auto small = drawn(parents, noise), large = drawn(parents, noise, kLargeFaceSide);
    double difference = 0;
    for (size_t y = 0; y < 32; ++y)
      for (size_t x = 0; x < 32; ++x)
        for (size_t c = 0; c < 3; ++c) {
          const auto at = [&](size_t dy, size_t dx) {
            return large[((2 * y + dy) * 64 + 2 * x + dx) * 3 + c];
          };
          difference += std::abs((at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1)) / 4 -
                                 small[(y * 32 + x) * 3 + c]);
        }
    EXPECT_LT(127.5 * difference / (32 * 32 * 3), 3) << i;
  }
  const Dataset set = load_dataset("faces:size=64", Split::test, 3);
  EXPECT_EQ(set.height, 64);
  EXPECT_EQ(set.values, test_faces().values);
  EXPECT_EQ(set.world->image(4, {}), image_of(set, 4));
  EXPECT_EQ(set.world->measure(4, image_of(set, 4)), set.factual(4));
  expect_error([] { load_dataset("faces:size=48", Split::test, 3); }, "faces:size=64");
}

// A network's image is not exact: what an attribute changes must stand out from such errors.
TEST(Faces, every_attribute_shows) {
  for (uint64_t i = 0; i < 15; ++i) {
    const FaceNoise noise = sample_face_noise(5, i);
    std::vector<std::vector<float>> all;
    for (unsigned k = 0; k < 16; ++k)
      all.push_back(drawn({(k & 1) != 0, (k & 2) != 0, (k & 4) != 0, (k & 8) != 0}, noise));
    for (unsigned k = 0; k < 16; ++k)
      for (const unsigned flip : {1u, 2u, 4u, 8u}) {
        const std::vector<float>&a = all[k], &b = all[k ^ flip];
        double squares = 0;
        for (size_t j = 0; j < a.size(); ++j) squares += std::pow(a[j] - b[j], 2);
        EXPECT_GT(std::sqrt(squares), 2.0) << i << " " << k << " " << flip;
      }
  }
}

TEST(Faces, counterfactuals_keep_the_style) {
  const auto differ = [](const std::vector<float>& a, const std::vector<float>& b, int row,
                         int column) {
    const auto at = static_cast<size_t>((row * kFaceSide + column) * 3);
    return a[at] != b[at] || a[at + 1] != b[at + 1] || a[at + 2] != b[at + 2];
  };
  for (uint64_t i = 0; i < 40; ++i) {
    const FaceNoise noise = sample_face_noise(6, i);
    const auto base = drawn({true, true, true, false}, noise);
    const auto bearded = drawn({true, true, false, false}, noise);
    const auto bald = drawn({true, true, true, true}, noise);
    const auto woman = drawn({false, false, true, false}, noise);
    for (int c = 0; c < kFaceSide; ++c) {
      for (int r = 0; r < 11; ++r) EXPECT_FALSE(differ(base, bearded, r, c)) << r << " " << c;
      for (int r = 19; r < kFaceSide; ++r) EXPECT_FALSE(differ(base, bald, r, c)) << r << " " << c;
    }
    // The background beside the head.
    for (int r = 0; r < 20; ++r)
      for (const int c : {0, 1, 30, 31}) EXPECT_FALSE(differ(base, woman, r, c)) << r << " " << c;
  }
}

TEST(Faces, images_are_in_range) {
  for (uint64_t i = 0; i < 100; ++i) {
    const FaceNoise noise = sample_face_noise(5, i);
    for (const float v : drawn(face_parents(noise), noise)) ASSERT_TRUE(v >= -1 && v <= 1);
  }
  std::vector<float> small(10);
  expect_error([&] { render(FaceParents{}, sample_face_noise(0, 0), kFaceSide, small); }, "10");
}

}  // namespace
}  // namespace diffscm::data
