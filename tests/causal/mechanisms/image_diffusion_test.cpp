#include "causal/mechanisms/image_diffusion.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "engine/random.h"
#include "tests/causal/scm_testing.h"

namespace diffscm::causal {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int64_t kSide = 8, kPixels = kSide * kSide, kRows = 64;

// A patch as bright as `level` says, in the left half or in the right one, on faint noise.
struct World {
  Values level, side, image;

  explicit World(uint64_t seed) {
    const Tensor noise = standard_normal({kRows, kPixels}, {.seed = seed}, {}, Target::cpu);
    image.images = Tensor({kRows, kSide, kSide, 1});
    for (int64_t row = 0; row < kRows; ++row) {
      const double l = -0.8 + 1.6 * static_cast<double>(row) / (kRows - 1), s = row % 2;
      level.numbers.push_back(l);
      side.numbers.push_back(s);
      for (int64_t p = 0; p < kPixels; ++p) {
        const bool lit = (p % kSide < kSide / 2) == (s == 0);
        const double value = (lit ? l : 0) + 0.05 * noise.data()[row * kPixels + p];
        image.images.mutable_data()[row * kPixels + p] =
            static_cast<float>(std::clamp(value, -1.0, 1.0));
      }
    }
  }
  std::vector<const Values*> parents() const { return {&level, &side}; }
};

Role role(json parameters = json::object(), const fs::path& folder = {}) {
  Node image = number("image", {"level", "side"});
  image.kind = NodeKind::image;
  image.mechanism = {"image-diffusion", std::move(parameters), folder};
  Node side = number("side");
  side.kind = NodeKind::binary;
  side.attribute.states = {"left", "right"};
  return {image, {number("level"), side}};
}

json small(json more = json::object()) {
  json parameters = {{"unet", {{"channel_mult", {1, 1}}}},
                     {"steps", 120},
                     {"batch", 16},
                     {"lr", 3e-3},
                     {"levels", 8}};
  parameters.merge_patch(more);
  return parameters;
}

fs::path folder(const std::string& name) {
  const fs::path path =
      fs::temp_directory_path() / fmt::format("diffscm-image-diffusion-{}-{}", ::getpid(), name);
  fs::remove_all(path);
  return path;
}

// Trained once for all tests.
const ImageDiffusion& trained() {
  static const ImageDiffusion mechanism = [] {
    ImageDiffusion m(role(small()));
    const World world(1);
    m.fit(world.image, world.parents(), {.seed = 2, .folder = folder("shared")});
    return m;
  }();
  return mechanism;
}

ImageDiffusion changed(const json& changes) {
  ImageDiffusion m(role(small()));
  m.load(trained().state());
  m.configure(changes);
  return m;
}

std::vector<int64_t> count_to(int64_t n) {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < n; ++i) rows.push_back(i);
  return rows;
}
const std::vector<int64_t> kAll = count_to(kRows);
const RowRandom kRandom{{.seed = 3, .purpose = kernels::Purpose::abduction, .step = 1}, kAll};

double worst(const Tensor& a, const Tensor& b) {
  double most = 0;
  for (int64_t i = 0; i < a.numel(); ++i)
    most = std::max(most, std::abs(double{a.data()[i]} - double{b.data()[i]}));
  return most;
}

double mean(const Tensor& images, int64_t row, int64_t half) {
  double sum = 0;
  for (int64_t p = 0; p < kPixels; ++p)
    if (p % kSide / (kSide / 2) == half) sum += images.data()[row * kPixels + p];
  return 2 * sum / kPixels;
}

TEST(ImageDiffusion, ReturnsTheImageFromItsNoise) {
  const World world(4);
  const std::vector<int64_t> few = count_to(8);
  const Values image = world.image.select(few), level = world.level.select(few),
               side = world.side.select(few);
  const std::vector<const Values*> parents{&level, &side};
  const RowRandom random{kRandom.key, few};
  for (const auto& [changes, tolerance] : {std::pair{json{{"abduction", "ddpm"}}, 2e-5},
                                           {json{{"abduction", "ddpm"}, {"scale", 1.5}}, 2e-5},
                                           {json{{"abduction", "fixed-point"}}, 0.05},
                                           {json{{"abduction", "ddim"}, {"levels", 250}}, 0.1}}) {
    const ImageDiffusion m = changed(changes);
    const Values noise = m.abduct(image, parents, random);
    EXPECT_LT(worst(m.predict(noise, parents).images, image.images), tolerance) << changes;
  }
}

TEST(ImageDiffusion, FollowsItsParents) {
  const World world(5);
  Values level(std::vector<double>(kRows, 0.6));
  const std::vector<const Values*> set{&level, &world.side};
  const Values noise = trained().abduct(world.image, world.parents(), kRandom);
  const Values cf = trained().predict(noise, set);
  double error = 0, before = 0, elsewhere = 0;
  for (int64_t row = 0; row < kRows; ++row) {
    const auto half = static_cast<int64_t>(world.side.numbers[static_cast<size_t>(row)]);
    error += std::abs(mean(cf.images, row, half) - 0.6) / kRows;
    before += std::abs(mean(world.image.images, row, half) - 0.6) / kRows;
    elsewhere += std::abs(mean(cf.images, row, 1 - half)) / kRows;
  }
  EXPECT_LT(error, before / 3);
  EXPECT_LT(elsewhere, 0.1);
}

TEST(ImageDiffusion, ACounterfactualKeepsWhatHardlyChanges) {
  const World world(6);
  const Values level(std::vector<double>(kRows, 0.6));
  const std::vector<const Values*> set{&level, &world.side};
  const Values noise = trained().abduct(world.image, world.parents(), kRandom);
  const Tensor& was = world.image.images;
  const Tensor plain = trained().predict(noise, set).images;
  EXPECT_EQ(worst(trained().counterfactual(world.image, noise, set).images, plain), 0);

  const ImageDiffusion careful = changed({{"least_change", 20}});
  EXPECT_EQ(worst(careful.predict(noise, set).images, plain), 0);
  const Tensor cf = careful.counterfactual(world.image, noise, set).images;
  int64_t kept = 0, moved = 0;
  for (int64_t i = 0; i < cf.numel(); ++i) {
    const double change = 127.5 * std::abs(double{plain.data()[i]} - double{was.data()[i]});
    if (change < 20) kept += cf.data()[i] == was.data()[i] ? 1 : -kPixels * kRows;
    if (change > 40) moved += cf.data()[i] == plain.data()[i] ? 1 : -kPixels * kRows;
  }
  EXPECT_GT(kept, kPixels * kRows / 3);
  EXPECT_GT(moved, kPixels * kRows / 6);
}

// The published form: a network that is told nothing, a regressor of the level and a classifier of
// the side.
TEST(ImageDiffusion, AntiCausalPredictorsOfNumbersAndStatesGuide) {
  const Role anti_causal = role(small(
      {{"form", "anti-causal"}, {"predictor", {{"channel_mult", {1, 1}}, {"head_channels", 16}}}}));
  ImageDiffusion m(anti_causal);
  const World world(1), other(5);
  m.fit(world.image, world.parents(), {.seed = 2, .folder = folder("anti-causal")});
  ImageDiffusion again(anti_causal);
  again.load(m.state());
  const std::vector<int64_t> few = count_to(16);
  const Values image = other.image.select(few), level = other.level.select(few),
               side = other.side.select(few), set(std::vector<double>(16, 0.6));
  const std::vector<const Values*> parents{&level, &side}, wanted{&set, &side};
  const RowRandom random{kRandom.key, few};
  for (const char* encode : {"factual", "unconditional"}) {
    again.configure({{"encode", encode}, {"scales", {{"level", 2}}}});
    const Values noise = again.abduct(image, parents, random);
    if (std::string(encode) == "factual") {
      EXPECT_LT(worst(again.predict(noise, parents).images, image.images), 2e-5);
    }
    const Values cf = again.predict(noise, wanted);
    double error = 0, before = 0;
    for (int64_t row = 0; row < 16; ++row) {
      const auto half = static_cast<int64_t>(side.numbers[static_cast<size_t>(row)]);
      error += std::abs(mean(cf.images, row, half) - 0.6) / 16;
      before += std::abs(mean(image.images, row, half) - 0.6) / 16;
    }
    EXPECT_LT(error, 0.9 * before) << encode;
  }
  expect_error([&] { again.configure({{"scales", {{"colour", 2}}}}); }, "colour");
  expect_error(
      [] {
        changed({{"scales", {{"level", 2}}}});
      },
      "a conditional network has one scale");
  const auto predictors = [&](json given) {
    return [given] {
      ImageDiffusion(role(small({{"form", "anti-causal"}, {"predictors", given}})));
    };
  };
  expect_error(predictors({{"colour", "c.safetensors"}}), "predictors: \"colour\" is no parent");
  expect_error(predictors({{"level", 3}}), "the predictor of \"level\" is 3: give a file");
  expect_error(predictors(3), "predictors is 3");
  const Values far(std::vector<double>(16, 30));
  const std::vector<const Values*> unseen{&far, &side};
  ASSERT_EQ(again.warnings(unseen).size(), 1u);
  EXPECT_NE(again.warnings(unseen)[0].find("level=30"), std::string::npos);
  EXPECT_TRUE(again.warnings(parents).empty());
}

TEST(ImageDiffusion, ARowDependsOnItselfAlone) {
  const World world(6);
  const std::vector<int64_t> some{40, 3};
  const Values few = world.image.select(some), level = world.level.select(some),
               side = world.side.select(some);
  const std::vector<const Values*> parents{&level, &side};
  const Values all_noise = trained().abduct(world.image, world.parents(), kRandom),
               noise = trained().abduct(few, parents, {kRandom.key, some});
  EXPECT_LT(worst(noise.images, all_noise.select(some).images), 1e-4);
  const RowRandom drawn{{.seed = 9, .purpose = kernels::Purpose::exogenous}, kAll},
      drawn_few{drawn.key, some};
  EXPECT_EQ(trained().draw_noise(drawn_few).images.to_vector(),
            trained().draw_noise(drawn).select(some).images.to_vector());
}

TEST(ImageDiffusion, SurvivesItsFileAndGoesOnWhereItWasStopped) {
  const World world(1);
  const fs::path where = folder("resumed");
  ImageDiffusion m(role(small()));
  int asked = 0;
  struct Stopped {};
  EXPECT_THROW(m.fit(world.image, world.parents(),
                     {.seed = 2,
                      .folder = where,
                      .stop = [&] { return ++asked == 50; },
                      .progress =
                          [&](double, double, const std::string& note) {
                            if (note == "stopped") throw Stopped{};
                          }}),
               Stopped);
  EXPECT_FALSE(m.is_fitted());
  m.fit(world.image, world.parents(), {.seed = 2, .folder = where});
  EXPECT_EQ(m.state().tensors.at("unet/out.2.weight").to_vector(),
            trained().state().tensors.at("unet/out.2.weight").to_vector());

  const fs::path file = where / "image.safetensors";
  write_mechanism(file, role(small()), m);
  const auto read = read_mechanism(file, role(small()));
  const Values noise = m.abduct(world.image, world.parents(), kRandom);
  EXPECT_EQ(read->predict(noise, world.parents()).images.to_vector(),
            m.predict(noise, world.parents()).images.to_vector());
}

TEST(ImageDiffusion, SaysWhatCannotBe) {
  const World world(7);
  expect_error([] { ImageDiffusion{role({{"form", "acausal"}})}; }, "acausal");
  expect_error([] { ImageDiffusion{role({{"colour", 1}})}; }, "colour");
  expect_error(
      [] {
        ImageDiffusion{role({{"model", "none.safetensors"}}, "/nowhere")};
      },
      "none.safetensors");
  expect_error([&] { ImageDiffusion(role()).predict(world.image, world.parents()); }, "not fitted");
  expect_error([&] { trained().abduct(world.level, world.parents(), kRandom); }, "no image");
  data::Dataset larger;
  larger.height = larger.width = 16;
  larger.channels = 1;
  expect_error([&] { require_makes_images_of(larger, trained()); },
               "the model makes images of 8x8x1, these are 16x16x1");
  expect_error([] { changed({{"steps", 3}}); }, "steps");
  // Another graph's parents.
  const auto loaded_as = [](const Role& other) { ImageDiffusion(other).load(trained().state()); };
  Role more = role();
  more.parents.push_back(number("age"));
  expect_error([&] { loaded_as(more); }, "was not told the parent \"age\"");
  Role fewer = role();
  fewer.parents.pop_back();
  expect_error([&] { loaded_as(fewer); }, "no parent in the graph");
  Role states = role();
  states.parents[1].attribute.states = {"left", "right", "middle"};
  expect_error([&] { loaded_as(states); }, "2 states");
}

TEST(ImageDiffusion, WarnsOfWhatItHasNotSeen) {
  const Values far(std::vector<double>{0.1, 30}), side(std::vector<double>{0, 1});
  const std::vector<const Values*> parents{&far, &side};
  const std::vector<std::string> warnings = trained().warnings(parents);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("level=30"), std::string::npos) << warnings[0];
  EXPECT_NE(warnings[0].find("most were between -0.9"), std::string::npos) << warnings[0];
  EXPECT_TRUE(trained().warnings(World(1).parents()).empty());
}

}  // namespace
}  // namespace diffscm::causal
