#include "evaluation/scm/image_evaluation.h"

#include <cmath>
#include <memory>
#include <optional>
#include <set>

#include "tests/causal/scm_testing.h"

namespace diffscm {
namespace {

using causal::NodeKind;
using causal::Parents;
using causal::RowRandom;
using causal::Values;

constexpr int64_t kRows = 30, kPixels = 4;

// shade -> image, side -> image: the left or the right half is as bright as the shade, on a ground
// of the image's own.
std::vector<float> draw(double shade, double side, double ground) {
  std::vector<float> image(kPixels, static_cast<float>(ground));
  for (int64_t p = 0; p < kPixels; ++p)
    if ((p % 2 == 1) == (side == 1)) image[static_cast<size_t>(p)] = static_cast<float>(shade);
  return image;
}
double shade_of(int64_t i) {
  return -0.5 + static_cast<double>(i) / kRows;
}
double ground_of(int64_t i) {
  return -0.9 + 0.01 * static_cast<double>(i % 7);
}

struct KnownWorld : data::World {
  data::Assignment attributes(int64_t i, const data::Assignment& set) const override {
    data::Assignment all{{"shade", shade_of(i)}, {"side", static_cast<double>(i % 2)}};
    for (const auto& [name, value] : set) all[name] = value;
    return all;
  }
  std::vector<float> image(int64_t i, const data::Assignment& set) const override {
    const data::Assignment a = attributes(i, set);
    return draw(a.at("shade"), a.at("side"), ground_of(i));
  }
  // The brighter half, and its brightness.
  data::Assignment measure(int64_t, std::span<const float> image) const override {
    const bool right = image[1] > image[0];
    return {{"shade", std::max(image[0], image[1])}, {"side", right ? 1.0 : 0.0}};
  }
};

data::Dataset dataset() {
  data::Dataset set;
  set.name = "halves";
  set.height = set.width = 2;
  set.channels = 1;
  set.world = std::make_shared<KnownWorld>();
  std::vector<double> shades, sides;
  for (int64_t i = 0; i < kRows; ++i) {
    shades.push_back(shade_of(i));
    sides.push_back(static_cast<double>(i % 2));
    const auto image = set.world->image(i, {});
    set.pixels.insert(set.pixels.end(), image.begin(), image.end());
  }
  set.add({.name = "shade"}, shades);
  set.add({.name = "side", .states = {"left", "right"}}, sides);
  return set;
}

constexpr double kRight = 0;  // the graph has the states the other way round than the data

// Knows the world, or answers with the factual image whatever the parents.
class Painter : public causal::Mechanism {
 public:
  explicit Painter(bool lazy) : lazy_(lazy) {}
  causal::Abduction abduction() const override { return causal::Abduction::exact; }
  Values abduct(const Values& value, Parents parents, const RowRandom&) const override {
    if (lazy_) return value;
    std::vector<double> ground;
    for (int64_t row = 0; row < value.rows(); ++row) {
      const int64_t dark = parents[1]->numbers[static_cast<size_t>(row)] == kRight ? 0 : 1;
      ground.push_back(value.images.data()[row * kPixels + dark]);
    }
    return Values(ground);
  }
  Values predict(const Values& noise, Parents parents) const override {
    if (lazy_) return noise;
    std::vector<float> pixels;
    for (size_t row = 0; row < noise.numbers.size(); ++row) {
      const auto image = draw(parents[0]->numbers[row], parents[1]->numbers[row] == kRight ? 1 : 0,
                              noise.numbers[row]);
      pixels.insert(pixels.end(), image.begin(), image.end());
    }
    return Values(Tensor::from(pixels, {noise.rows(), 2, 2, 1}));
  }
  Values draw_noise(const RowRandom&) const override { fail("not asked for"); }
  void fit(const Values&, Parents, const causal::FitOptions&) override {}
  bool is_fitted() const override { return true; }
  causal::MechanismState state() const override { return {}; }
  void load(const causal::MechanismState&) override {}
  std::string description() const override { return "painter"; }

 private:
  bool lazy_;
};

causal::StructuralCausalModel model(bool lazy) {
  causal::Node shade = causal::number("shade"), side = causal::number("side"),
               image = causal::number("image", {"shade", "side"});
  side.kind = NodeKind::binary;
  side.attribute.states = {"right", "left"};
  image.kind = NodeKind::image;
  for (causal::Node* root : {&shade, &side}) root->mechanism.name = "empirical";
  causal::Graph graph({shade, side, image}, "halves");
  std::vector<std::unique_ptr<causal::Mechanism>> mechanisms;
  for (size_t i = 0; i < 2; ++i) {
    mechanisms.push_back(make_mechanism(causal::role_of(graph, i)));
    mechanisms.back()->fit(Values(std::vector<double>{0, 1}), {}, {});
  }
  mechanisms.push_back(std::make_unique<Painter>(lazy));
  return {std::move(graph), std::move(mechanisms)};
}

class Halves : public ::testing::Test {
 protected:
  ImageEvaluation evaluate(bool lazy, std::vector<std::string> nodes = {}) {
    const causal::StructuralCausalModel scm = model(lazy);
    const causal::DatasetNodes found(scm.graph(), data_);
    std::vector<int64_t> index;
    for (int64_t i = 0; i < kRows; ++i) index.push_back(i);
    const std::vector<ImageReader> readers{{"measured", world_reader(scm.graph(), data_, found)},
                                           {"blind", [](int64_t, std::span<const float>) {
                                              return std::vector<double>(3, std::nan(""));
                                            }}};
    reference_.emplace(graph_, data_, ImageJudges{vae_, oracle_});
    return evaluate_images(scm, data_, index, *reference_, readers,
                           {.interventions = std::move(nodes), .batch = 7});
  }
  data::Dataset data_ = dataset();
  const causal::Graph graph_ = model(true).graph();
  const Vae* vae_ = nullptr;
  const Oracle* oracle_ = nullptr;
  std::optional<ImageReference> reference_;
};

TEST_F(Halves, NothingMovesUnderAMechanismThatIgnoresItsParents) {
  const ImageEvaluation e = evaluate(true);
  EXPECT_EQ(e.rows, kRows);
  EXPECT_EQ(e.composition_1, 0);
  EXPECT_EQ(e.composition_10, 0);
  ASSERT_EQ(e.interventions.size(), 2u);
  for (const ImageInterventionScore& s : e.interventions) {
    EXPECT_EQ(s.distance.factual, 0) << s.node;
    EXPECT_EQ(s.distance.truth, s.distance.nothing) << s.node;
    EXPECT_GT(s.distance.truth, 5) << s.node;
    ASSERT_EQ(s.attributes.size(), 2u);
    for (const AttributeScore& a : s.attributes) {
      EXPECT_EQ(a.score, a.unchanged) << s.node << a.node;
      EXPECT_NEAR(a.floor, a.category ? 1 : 0, 1e-6) << s.node << a.node;
      EXPECT_EQ(a.set, a.node == s.node);
      // A state is always set to another one; what is not set stays.
      if (a.category) {
        EXPECT_EQ(a.score, a.set ? 0 : 1) << s.node << a.node;
      }
    }
  }
}

TEST_F(Halves, TheTruthIsFoundByAMechanismThatKnowsIt) {
  const ImageEvaluation e = evaluate(false);
  EXPECT_NEAR(e.composition_10, 0, 1e-5);
  for (const ImageInterventionScore& s : e.interventions) {
    EXPECT_NEAR(s.distance.truth, 0, 1e-5) << s.node;
    EXPECT_GT(s.distance.factual, 5) << s.node;
    for (const AttributeScore& a : s.attributes)
      EXPECT_NEAR(a.score, a.category ? 1 : 0, 1e-6) << s.node << a.node;
  }
}

TEST_F(Halves, DistancesAreMeanAbsoluteGreyLevels) {
  const ImageEvaluation e = evaluate(true, {"side"});
  // The lit half swaps with the dark one: all pixels change by the shade less the ground.
  double expected = 0;
  for (int64_t i = 0; i < kRows; ++i) expected += 127.5 * (shade_of(i) - ground_of(i)) / kRows;
  ASSERT_EQ(e.interventions.size(), 1u);
  EXPECT_NEAR(e.interventions[0].distance.nothing, expected, 1e-4);
  // Of another ground at most, and of the next shade.
  EXPECT_LT(e.interventions[0].distance.random, 0.15 * expected);
}

// Networks of random weights: what counts is which images they are asked about.
TEST_F(Halves, CrowdsAreThoseOfTheAttribute) {
  const Vae vae({.image_size = 2, .in_channels = 1, .channels = {8}, .latent = 3}, 1);
  const Oracle oracle({.image_size = 2, .in_channels = 1, .classes = 2, .channels = {8}}, 2);
  vae_ = &vae;
  oracle_ = &oracle;
  const ImageEvaluation nothing = evaluate(true), truth = evaluate(false);
  for (const ImageInterventionScore& s : nothing.interventions) {
    // An unchanged image has divergence 0: no image of the target is as near, all of its own class
    // are as far.
    EXPECT_NEAR(s.cld.value, std::log(1 + std::exp(1.0)), s.node == "side" ? 1e-9 : 0.1) << s.node;
    EXPECT_NE(s.cld.floor, s.cld.value) << s.node;
  }
  for (size_t d = 0; d < truth.interventions.size(); ++d) {
    const ImageInterventionScore& s = truth.interventions[d];
    EXPECT_NEAR(s.cld.value, s.cld.floor, 1e-9) << s.node;
    EXPECT_EQ(s.cld.floor, nothing.interventions[d].cld.floor) << s.node;
    EXPECT_NEAR(s.realism.value, s.realism.floor, 1e-9) << s.node;
    EXPECT_GT(s.realism.floor, 0) << s.node;
  }
  // The factual images are the reference images.
  EXPECT_NEAR(nothing.interventions[0].realism.value, 0, 1e-6);

  EXPECT_EQ(reference_->members(1, kRight).size(), 15u);
  const std::vector<size_t> near = reference_->members(0, shade_of(10));
  EXPECT_EQ(std::set<size_t>(near.begin(), near.end()), (std::set<size_t>{9, 10, 11}));
}

TEST_F(Halves, WithoutNetworksOnlyDistancesAreKnown) {
  const ImageEvaluation e = evaluate(false);
  for (const ImageInterventionScore& s : e.interventions) {
    EXPECT_TRUE(std::isnan(s.cld.value) && std::isnan(s.realism.value)) << s.node;
    for (const AttributeScore& a : s.attributes) EXPECT_EQ(a.reader, "measured");
  }
}

TEST_F(Halves, RefusesWhatDoesNotReachTheImage) {
  causal::expect_error([&] { evaluate(true, {"image"}); }, "do(image): no image depends on it");
  causal::expect_error([&] { evaluate(true, {"colour"}); }, "colour");
}

// States by name, whatever their order.
TEST_F(Halves, TheDataKnowTheNodesByName) {
  const causal::StructuralCausalModel scm = model(true);
  const causal::DatasetNodes nodes(scm.graph(), data_);
  const std::vector<int64_t> index{3, 4};
  const causal::NodeValues values = nodes.values(index);
  EXPECT_EQ(values[0].numbers, (std::vector<double>{shade_of(3), shade_of(4)}));
  EXPECT_EQ(values[1].numbers, (std::vector<double>{0, 1}));
  EXPECT_EQ(nodes.assignment(values, 0), (data::Assignment{{"shade", shade_of(3)}, {"side", 1}}));
  EXPECT_EQ(values[2].images.shape(), (Shape{2, 2, 2, 1}));
}

}  // namespace
}  // namespace diffscm
