#include "data/morpho/morpho.h"

#include <cmath>

#include "data/draws.h"
#include "data/progress.h"
#include "engine/io/idx.h"
#include "tests/data/environment.h"
#include "tests/data/morpho/morpho_testing.h"

namespace diffscm::data::morpho {
namespace {

namespace fs = std::filesystem;
using diffscm::testing::expect_error;
using diffscm::testing::get;
using diffscm::testing::put;
using diffscm::testing::TemporaryFolder;
using diffscm::testing::Variable;

// An MNIST of three training and two test images, and an empty cache.
class Morpho : public ::testing::Test {
 protected:
  Morpho() {
    fs::create_directory(folder_ / "mnist");
    write("train", {box(6, 22, 12, 15), bar(), box(5, 9, 5, 23)}, {1, 4, 7});
    write("t10k", {box(8, 20, 9, 13), box(3, 25, 20, 23)}, {1, 1});
  }
  void write(const std::string& split, const std::vector<GreyImage>& images,
             std::vector<uint8_t> labels) {
    const auto n = static_cast<int64_t>(images.size());
    io::IdxArray all{{n, 28, 28}, {}};
    for (const GreyImage& i : images)
      all.values.insert(all.values.end(), i.pixels.begin(), i.pixels.end());
    io::write_idx(folder_ / ("mnist/" + split + "-images-idx3-ubyte.gz"), all);
    io::write_idx(folder_ / ("mnist/" + split + "-labels-idx1-ubyte.gz"), {{n}, std::move(labels)});
  }
  fs::path cached(const std::string& name) const {
    for (const auto& entry : fs::directory_iterator(folder_ / "cache/diffscm/morpho"))
      if (fs::exists(entry.path() / name)) return entry.path() / name;
    return {};
  }
  // What --data FOLDER would read: the cache's files, both splits in one folder.
  fs::path published() const {
    const fs::path out = folder_ / "published";
    fs::create_directory(out);
    for (const Split split : {Split::train, Split::test}) load_morpho(split, 0);
    for (const std::string split : {"train", "t10k"})
      for (const std::string part :
           {"-images-idx3-ubyte.gz", "-labels-idx1-ubyte.gz", "-morpho.csv"})
        fs::copy_file(cached(split + part), out / (split + part));
    return out;
  }
  static std::vector<float> image(const Dataset& set, int64_t i) {
    return set.images(std::vector<int64_t>{i}).to_vector();
  }

  TemporaryFolder folder_;
  Variable data_{"DIFFSCM_DATA", folder_.path()}, cache_{"XDG_CACHE_HOME", folder_ / "cache"},
      offline_{"DIFFSCM_OFFLINE", "1"};
};

TEST_F(Morpho, the_population_follows_the_equations) {
  constexpr int kCount = 20000;
  double sum = 0, squares = 0, noise = 0, noise_squares = 0;
  for (uint64_t i = 0; i < kCount; ++i) {
    const Parents p = sample_parents(1, i);
    sum += p.thickness;
    squares += p.thickness * p.thickness;
    const double logit = std::log((p.intensity - 64) / (255 - p.intensity));
    noise += logit - (2 * p.thickness - 5);
    noise_squares += std::pow(logit - (2 * p.thickness - 5), 2);
  }
  const double mean = sum / kCount;
  EXPECT_NEAR(mean, 0.5 + 10 / 5.0, 0.02);                       // of Gamma(10, 5)
  EXPECT_NEAR(squares / kCount - mean * mean, 10 / 25.0, 0.02);  // its variance
  EXPECT_NEAR(noise / kCount, 0, 0.02);
  EXPECT_NEAR(noise_squares / kCount, 0.25, 0.02);
  // The world does not change between versions.
  EXPECT_NEAR(sample_parents(0, 0).thickness, 2.0, 1.5);
}

TEST_F(Morpho, a_data_set_is_rendered_once) {
  int steps = 0;
  set_progress_listener([&](const std::string& what, int64_t done, int64_t total) {
    EXPECT_NE(what.find("morpho"), std::string::npos);
    EXPECT_LE(done, total);
    ++steps;
  });
  const Dataset first = load_dataset("morpho", Split::train);
  EXPECT_EQ(steps, 3);
  const Dataset again = load_dataset("morpho", Split::train);
  EXPECT_EQ(steps, 3);
  EXPECT_EQ(again.pixels, first.pixels);
  EXPECT_EQ(again.values, first.values);
  EXPECT_EQ(first.size(), 3);
  EXPECT_EQ(first.labels, (std::vector<int64_t>{1, 4, 7}));
  EXPECT_EQ(first.classes, 10);
  for (size_t i = 0; i < 3; ++i) {
    const Parents p = sample_parents(0, world_index(Split::train, static_cast<int64_t>(i)));
    EXPECT_EQ(first.values[1][i], p.thickness);
    EXPECT_EQ(first.values[2][i], p.intensity);
  }
  // Damage is noticed and mended; another seed is another world.
  const std::string name = "train-images-idx3-ubyte.gz";
  std::string bytes = get(cached(name));
  bytes[bytes.size() / 2] ^= 1;
  put(cached(name), bytes);
  EXPECT_EQ(load_morpho(Split::train, 0).pixels, first.pixels);
  EXPECT_EQ(steps, 6);
  put(cached("train-morpho.csv"), "index,thickness,intensity\n0,1,100\n1,2,100\n2,3,100\n");
  EXPECT_EQ(load_morpho(Split::train, 0).values, first.values);
  EXPECT_EQ(steps, 9);
  EXPECT_NE(load_morpho(Split::train, 1).values, first.values);
  set_progress_listener({});
}

TEST_F(Morpho, who_listens_can_stop_it) {
  set_progress_listener([](const std::string&, int64_t, int64_t) { fail("stopped"); });
  expect_error([] { load_morpho(Split::test, 0); }, "stopped");
  set_progress_listener({});
  EXPECT_EQ(load_morpho(Split::test, 0).size(), 2);
}

TEST_F(Morpho, the_world_re_renders_the_handwriting) {
  const Dataset set = load_dataset("morpho", Split::test);
  ASSERT_NE(set.world, nullptr);
  const World& world = *set.world;
  for (const int64_t i : {0, 1}) {
    const Assignment factual = set.factual(i);
    EXPECT_EQ(world.attributes(i, {}), factual);
    EXPECT_EQ(world.image(i, {}), image(set, i));
    EXPECT_EQ(world.image(i, factual), image(set, i));
  }
  // do(thickness) moves the intensity by its equation, with the image's own noise.
  const Parents noise = sample_parents(0, world_index(Split::test, 0));
  const Assignment thick = world.attributes(0, {{"thickness", 5.0}});
  EXPECT_DOUBLE_EQ(thick.at("intensity"),
                   64 + 191 / (1 + std::exp(5 - 2 * 5.0 - noise.u_intensity / 2)));
  const auto pixels_of = [](const GreyImage& grey) {
    std::vector<float> pixels;
    for (const uint8_t v : grey.pixels) pixels.push_back(pixel_of_byte(v));
    return pixels;
  };
  EXPECT_EQ(world.image(0, {{"thickness", 5.0}}),
            pixels_of(render(box(8, 20, 9, 13), 5.0, thick.at("intensity"))));
  // do(intensity) leaves the thickness alone.
  EXPECT_EQ(world.attributes(0, {{"intensity", 100}}).at("thickness"), noise.thickness);
  EXPECT_EQ(world.image(0, {{"intensity", 100}}),
            pixels_of(render(box(8, 20, 9, 13), noise.thickness, 100)));
}

TEST_F(Morpho, another_digit_has_no_true_image) {
  const Dataset set = load_dataset("morpho", Split::test);
  EXPECT_TRUE(set.world->knows_image(0, {{"digit", 1}, {"thickness", 3}}));
  EXPECT_FALSE(set.world->knows_image(0, {{"digit", 2}}));
  EXPECT_EQ(set.world->attributes(0, {{"digit", 2}}).at("thickness"), set.values[1][0]);
  expect_error([&] { set.world->image(0, {{"digit", 2}}); }, "do(digit=2)");
  expect_error([&] { set.world->image(2, {}); }, "no image 2");
  expect_error([&] { set.world->image(0, {{"thickness", 9}}); }, "thickness is 9");
  expect_error([&] { set.world->image(0, {{"intensity", 30}}); }, "intensity is 30");
  expect_error([&] { set.world->knows_image(0, {{"colour", 1}}); }, "\"colour\"");
}

TEST_F(Morpho, measuring_finds_what_was_set) {
  const Dataset set = load_dataset("morpho", Split::test);
  for (const double thickness : {2.0, 3.0, 4.0}) {
    const std::vector<float> made =
        set.world->image(0, {{"thickness", thickness}, {"intensity", 150}});
    const Assignment found = set.world->measure(0, made);
    EXPECT_EQ(found.size(), 2u);
    EXPECT_NEAR(found.at("thickness"), thickness, 0.75);
    EXPECT_NEAR(found.at("intensity"), 150, 1);
  }
  EXPECT_TRUE(set.world->measure(0, std::vector<float>(28 * 28, -1)).empty());
  expect_error([&] { set.world->measure(0, std::vector<float>(10)); }, "10 pixels");
}

TEST_F(Morpho, published_files_are_recognised) {
  const fs::path files = published();
  const Dataset own = load_dataset("morpho", Split::test);
  const Dataset set = load_dataset(files, Split::test);
  EXPECT_EQ(set.pixels, own.pixels);
  EXPECT_EQ(set.values, own.values);
  EXPECT_EQ(set.attributes, own.attributes);
  ASSERT_EQ(set.notes.size(), 1u);
  EXPECT_NE(set.notes[0].find("0.000 grey levels"), std::string::npos) << set.notes[0];
  // The noise of the intensity follows from the attributes.
  ASSERT_NE(set.world, nullptr);
  EXPECT_NEAR(set.world->attributes(1, {{"thickness", 4}}).at("intensity"),
              own.world->attributes(1, {{"thickness", 4}}).at("intensity"), 1e-9);
  // Other images of the same attributes are not MNIST's.
  io::IdxArray images = io::read_idx(files / "t10k-images-idx3-ubyte.gz");
  std::ranges::reverse(images.values);
  io::write_idx(files / "t10k-images-idx3-ubyte.gz", images);
  const Dataset other = load_dataset(files, Split::test);
  EXPECT_EQ(other.world, nullptr);
  EXPECT_EQ(other.label_attribute().name, "digit");
  EXPECT_EQ(other.values, own.values);
  // Nor is there a world where MNIST is missing.
  const Variable elsewhere("DIFFSCM_DATA", files);
  EXPECT_EQ(load_dataset(files, Split::train).world, nullptr);
}

TEST_F(Morpho, tables_must_fit_their_images) {
  const fs::path files = published(), table = files / "train-morpho.csv";
  const auto error = [&](const std::string& text, const std::string& part) {
    put(table, text);
    expect_error([&] { load_dataset(files, Split::train); }, part);
  };
  error("index,thickness\n0,1\n1,2\n", "2 rows for 3 images");
  error("index,thickness\n0,1\n1,2\n1,3\n", "line 4 is about image 1, expected 2");
  error("index,thickness\n0,1\n1,\n2,3\n", "line 3 has no \"thickness\"");
  error("index,thickness\n0,1\n1,thin\n2,3\n", "line 3: thickness is \"thin\"");
  // Morpho-MNIST's own tables have other columns.
  put(table, "index,area,length\n0,1,2\n1,2,3\n2,3,4\n");
  const Dataset set = load_dataset(files, Split::train);
  EXPECT_EQ(set.attributes.size(), 3u);
  EXPECT_EQ(set.factual(2).at("length"), 4);
  EXPECT_EQ(set.world, nullptr);
  fs::remove(table);
  expect_error([&] { load_dataset(files, Split::test); }, "no morpho.csv for the train split");
}

}  // namespace
}  // namespace diffscm::data::morpho
