#include "data/morpho/morpho.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "data/cache.h"
#include "data/draws.h"
#include "data/idx_folder.h"
#include "data/mnist.h"
#include "data/progress.h"
#include "engine/io/file.h"
#include "engine/io/idx.h"
#include "engine/parallel.h"
#include "kernels/error.h"

namespace diffscm::data::morpho {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kClasses = 10;
// Part of the cache's name: another number when the rendering changes.
constexpr int kRendering = 1;
// Of a data set that may be a re-rendering of MNIST.
constexpr int64_t kSampled = 64;
constexpr double kSameLevels = 0.5;

std::vector<Attribute> attributes_of_world() {
  return {numbered_category("digit", kClasses),
          Attribute{.name = "thickness", .low = kMinThickness, .high = kMaxThickness},
          Attribute{.name = "intensity", .low = kMinIntensity, .high = kMaxIntensity}};
}

uint8_t level_of_pixel(float v) {
  return static_cast<uint8_t>(std::lround((std::clamp(v, -1.0f, 1.0f) + 1.0f) * 127.5f));
}

std::vector<float> to_pixels(const GreyImage& image) {
  std::vector<float> pixels;
  for (const uint8_t level : image.pixels) pixels.push_back(pixel_of_byte(level));
  return pixels;
}

// MNIST's images of a split.
struct Handwriting {
  int height = 0, width = 0;
  std::vector<uint8_t> levels;  // [N, height, width]
  std::vector<int64_t> digits;  // [N]

  explicit Handwriting(const Dataset& mnist)
      : height(static_cast<int>(mnist.height)),
        width(static_cast<int>(mnist.width)),
        digits(mnist.labels) {
    levels.resize(mnist.pixels.size());
    std::ranges::transform(mnist.pixels, levels.begin(), level_of_pixel);
  }
  int64_t size() const { return std::ssize(digits); }
  int64_t digit(int64_t i) const { return digits[static_cast<size_t>(i)]; }
  GreyImage image(int64_t i) const {
    const auto first = levels.begin() + i * height * width;
    return {height, width, 1, {first, first + height * width}};
  }
};

class MorphoWorld : public World {
 public:
  MorphoWorld(Handwriting handwriting, std::vector<Parents> parents)
      : handwriting_(std::move(handwriting)), parents_(std::move(parents)) {}

  Assignment attributes(int64_t i, const Assignment& set) const override {
    require(i >= 0 && i < handwriting_.size(), "morpho has no image {}: give 0 to {}", i,
            handwriting_.size() - 1);
    const Parents& factual = parents_[static_cast<size_t>(i)];
    const auto known = attributes_of_world();
    Assignment values;
    for (const auto& [name, value] : set) {
      const Attribute& attribute = find_attribute(known, name);
      attribute.check(value);
      values[attribute.name] = value;
    }
    values.emplace("digit", handwriting_.digit(i));
    const double thickness = values.emplace("thickness", factual.thickness).first->second;
    values.emplace("intensity", thickness == factual.thickness
                                    ? factual.intensity
                                    : morpho::intensity_of(thickness, factual.u_intensity));
    return values;
  }
  bool knows_image(int64_t i, const Assignment& set) const override {
    return attributes(i, set).at("digit") == static_cast<double>(handwriting_.digit(i));
  }
  std::vector<float> image(int64_t i, const Assignment& set) const override {
    const Assignment values = attributes(i, set);
    require(knows_image(i, set),
            "nobody knows the true image of do(digit={}): image {} is the handwriting of a {}",
            values.at("digit"), i, handwriting_.digit(i));
    return to_pixels(render(handwriting_.image(i), values.at("thickness"), values.at("intensity")));
  }
  Assignment measure(int64_t, std::span<const float> image) const override {
    GreyImage grey{handwriting_.height, handwriting_.width, 1, {}};
    require(std::ssize(image) == grey.height * grey.width, "an image of {} x {} has not {} pixels",
            grey.height, grey.width, image.size());
    for (const float v : image) grey.pixels.push_back(level_of_pixel(v));
    const auto found = morpho::measure(grey);
    if (!found) return {};
    return {{"thickness", found->thickness}, {"intensity", morpho::intensity_of(grey)}};
  }

 private:
  Handwriting handwriting_;
  std::vector<Parents> parents_;
};

void give_world(Dataset& set, Handwriting handwriting, std::vector<Parents> parents) {
  set.attributes = attributes_of_world();
  set.plausible = plausible_digits();
  set.world = std::make_shared<MorphoWorld>(std::move(handwriting), std::move(parents));
}

fs::path file_of(const fs::path& folder, Split split, const char* what) {
  return folder / fmt::format("{}-{}", split == Split::train ? "train" : "t10k", what);
}

void render_into(const fs::path& folder, Split split, const Handwriting& h,
                 const std::vector<Parents>& parents) {
  io::IdxArray images{{h.size(), h.height, h.width}, std::vector<uint8_t>(h.levels.size())};
  const io::IdxArray labels{{h.size()}, {h.digits.begin(), h.digits.end()}};
  std::string table = "index,thickness,intensity\n";
  for (size_t i = 0; i < parents.size(); ++i)
    table += fmt::format("{},{},{}\n", i, parents[i].thickness, parents[i].intensity);
  LongWork work(fmt::format("morpho: rendering the {} images, once", name_of(split)), h.size());
  in_parallel(h.size(), [&](int64_t i) {
    const Parents& p = parents[static_cast<size_t>(i)];
    const GreyImage image = render(h.image(i), p.thickness, p.intensity);
    std::ranges::copy(image.pixels, images.values.begin() + i * h.height * h.width);
    work.step_done();
  });
  fs::create_directories(folder);
  io::write_idx(file_of(folder, split, "labels-idx1-ubyte.gz"), labels);
  io::atomic_write(file_of(folder, split, "morpho.csv"), table);
  io::write_idx(file_of(folder, split, "images-idx3-ubyte.gz"), images);
}

// What the cache holds, if it is whole and of this handwriting and noise.
std::optional<Dataset> read_cache(const fs::path& folder, Split split, const Handwriting& h,
                                  const std::vector<Parents>& parents) {
  try {
    IdxFiles files;
    const int s = static_cast<int>(split);
    files.images[s] = file_of(folder, split, "images-idx3-ubyte.gz");
    files.labels[s] = file_of(folder, split, "labels-idx1-ubyte.gz");
    files.table[s] = file_of(folder, split, "morpho.csv");
    Dataset set = load_idx(files, folder, split, "digit", kClasses);
    if (set.labels != h.digits || set.attributes.size() != 3 || set.height != h.height ||
        set.width != h.width)
      return {};
    for (size_t i = 0; i < parents.size(); ++i)
      if (set.values[1][i] != parents[i].thickness || set.values[2][i] != parents[i].intensity)
        return {};
    return set;
  } catch (const Error&) {
    return {};
  }
}

// The noise that gave an image its attributes; none where the equations cannot.
std::optional<Parents> parents_from(double thickness, double intensity) {
  const double part = (intensity - kMinIntensity) / (kMaxIntensity - kMinIntensity);
  if (!(thickness >= kMinThickness && thickness <= kMaxThickness && part > 0 && part < 1))
    return {};
  return Parents{thickness, intensity, 2 * (std::log(part / (1 - part)) - 2 * thickness + 5)};
}

}  // namespace

double thickness_of(double u_thickness) {
  return kMinThickness + u_thickness;
}

double intensity_of(double thickness, double u_intensity) {
  const double logit = 0.5 * u_intensity + 2 * thickness - 5;
  return kMinIntensity + (kMaxIntensity - kMinIntensity) / (1 + std::exp(-logit));
}

Parents sample_parents(uint64_t seed, uint64_t index) {
  Draws draws(seed, index);
  // Gamma(10, 5) is the sum of ten exponentials of rate 5.
  double u_thickness = 0;
  for (int i = 0; i < 10; ++i) u_thickness -= std::log(draws.uniform()) / 5;
  Parents p;
  p.thickness = std::min(thickness_of(u_thickness), kMaxThickness);
  p.u_intensity = draws.normal();
  p.intensity = intensity_of(p.thickness, p.u_intensity);
  return p;
}

GreyImage render(const GreyImage& handwriting, double thickness, double intensity) {
  const auto digit = analyse(handwriting, kEditScale);
  if (!digit) return handwriting;
  return with_intensity(reduce(with_thickness(*digit, thickness)), intensity);
}

Dataset load_morpho(Split split, uint64_t seed) {
  Handwriting h(load_mnist(split));
  std::vector<Parents> parents;
  for (int64_t i = 0; i < h.size(); ++i)
    parents.push_back(sample_parents(seed, world_index(split, i)));
  const fs::path folder = cache_folder("morpho") / fmt::format("{}-{}-{}", kRendering, seed,
                                                               io::sha256(h.levels).substr(0, 12));
  std::optional<Dataset> set = read_cache(folder, split, h, parents);
  if (!set) {
    render_into(folder, split, h, parents);
    set = read_cache(folder, split, h, parents);
    require(set.has_value(), "{} does not hold what was written to it", io::show(folder));
  }
  set->name = "morpho";
  set->has_test = true;
  give_world(*set, std::move(h), std::move(parents));
  return std::move(*set);
}

void recognise(Dataset& set, Split split) {
  const auto attributes = attributes_of_world();
  if (!std::ranges::equal(set.attributes, attributes, {}, &Attribute::name, &Attribute::name) ||
      !has_mnist())
    return;
  Handwriting h(load_mnist(set.has_test ? split : Split::train));
  if (set.labels != h.digits || set.height != h.height || set.width != h.width) return;
  std::vector<Parents> parents;
  for (size_t i = 0; i < set.labels.size(); ++i) {
    const auto p = parents_from(set.values[1][i], set.values[2][i]);
    if (!p) return;
    parents.push_back(*p);
  }
  const int64_t sampled = std::min(kSampled, set.size()), pixels = set.height * set.width;
  std::vector<double> distance(static_cast<size_t>(sampled));
  in_parallel(sampled, [&](int64_t s) {
    const int64_t i = s * set.size() / sampled;
    const Parents& p = parents[static_cast<size_t>(i)];
    const GreyImage image = render(h.image(i), p.thickness, p.intensity);
    for (int64_t k = 0; k < pixels; ++k)
      distance[static_cast<size_t>(s)] +=
          std::abs(image.pixels[static_cast<size_t>(k)] -
                   level_of_pixel(set.pixels[static_cast<size_t>(i * pixels + k)])) /
          static_cast<double>(pixels);
  });
  double mean = 0;
  for (const double d : distance) mean += d / static_cast<double>(sampled);
  if (mean > kSameLevels) return;
  set.notes.push_back(fmt::format(
      "these are MNIST's images re-rendered, {:.3f} grey levels from our rendering (mean of {}): "
      "the true counterfactuals of thickness and intensity are known",
      mean, sampled));
  give_world(set, std::move(h), std::move(parents));
}

}  // namespace diffscm::data::morpho
