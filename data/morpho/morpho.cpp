#include "data/morpho/morpho.h"

#include <algorithm>
#include <cmath>

#include "data/cache.h"
#include "data/draws.h"
#include "data/idx_folder.h"
#include "data/mnist.h"
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

std::array<Attribute, 3> attributes_of_world() {
  return {numbered_category("digit", kClasses),
          Attribute{.name = "thickness", .low = kMinThickness, .high = kMaxThickness},
          Attribute{.name = "intensity", .low = kMinIntensity, .high = kMaxIntensity}};
}

uint8_t byte_of_pixel(float v) {
  return static_cast<uint8_t>(std::lround((std::clamp(v, -1.0f, 1.0f) + 1.0f) * 127.5f));
}

GreyImage to_grey(std::span<const float> pixels, int height, int width) {
  GreyImage out{height, width, 1, {}};
  for (const float v : pixels) out.pixels.push_back(byte_of_pixel(v));
  return out;
}

// The MNIST images of a split, as bytes.
struct Handwriting {
  int height = 0, width = 0;
  std::vector<uint8_t> pixels;  // [N, height, width]
  std::vector<int64_t> digits;  // [N]

  int64_t size() const { return std::ssize(digits); }
  size_t pixels_each() const { return static_cast<size_t>(height) * static_cast<size_t>(width); }
  GreyImage image(int64_t i) const {
    const auto first = pixels.begin() + static_cast<std::ptrdiff_t>(i * height * width);
    return {height, width, 1, {first, first + height * width}};
  }
};

Handwriting handwriting_of(Split split) {
  const Dataset mnist = load_mnist(split);
  Handwriting h{static_cast<int>(mnist.height), static_cast<int>(mnist.width), {}, mnist.labels};
  h.pixels.resize(mnist.pixels.size());
  std::ranges::transform(mnist.pixels, h.pixels.begin(), byte_of_pixel);
  return h;
}

class MorphoWorld : public World {
 public:
  MorphoWorld(Handwriting handwriting, std::vector<Noise> noise)
      : handwriting_(std::move(handwriting)), noise_(std::move(noise)) {}

  Assignment attributes(int64_t i, const Assignment& set) const override {
    const Noise& noise = noise_of(i);
    Assignment values = checked(set);
    values.emplace("digit", handwriting_.digits[static_cast<size_t>(i)]);
    const double thickness = values.emplace("thickness", thickness_of(noise)).first->second;
    values.emplace("intensity", morpho::intensity_of(noise, thickness));
    return values;
  }
  std::vector<float> image(int64_t i, const Assignment& set) const override {
    const Assignment values = attributes(i, set);
    const auto digit = static_cast<double>(handwriting_.digits[static_cast<size_t>(i)]);
    require(values.at("digit") == digit,
            "morpho does not know image {} as a {}: its handwriting is that of a {}", i,
            values.at("digit"), digit);
    const GreyImage grey =
        render(handwriting_.image(i), values.at("thickness"), values.at("intensity"));
    std::vector<float> pixels;
    for (const uint8_t level : grey.pixels) pixels.push_back(pixel_of_byte(level));
    return pixels;
  }
  Assignment measure(int64_t, std::span<const float> image) const override {
    const GreyImage grey = to_grey(image, handwriting_.height, handwriting_.width);
    const auto found = morpho::measure(grey);
    if (!found) return {};
    return {{"thickness", found->thickness}, {"intensity", morpho::intensity_of(grey)}};
  }

 private:
  const Noise& noise_of(int64_t i) const {
    require(i >= 0 && i < handwriting_.size(), "morpho has no image {}: give 0 to {}", i,
            handwriting_.size() - 1);
    return noise_[static_cast<size_t>(i)];
  }
  static Assignment checked(const Assignment& set) {
    const auto known = attributes_of_world();
    Assignment values;
    for (const auto& [name, value] : set) {
      const Attribute& attribute = find_attribute(known, name);
      attribute.check(value);
      values[attribute.name] = value;
    }
    return values;
  }

  Handwriting handwriting_;
  std::vector<Noise> noise_;
};

// The published layout.
std::string file_of(Split split, const char* what) {
  return fmt::format("{}-{}", split == Split::train ? "train" : "t10k", what);
}

void render_into(const fs::path& folder, Split split, const Handwriting& h,
                 const std::vector<Noise>& noise) {
  io::IdxArray images{{h.size(), h.height, h.width}, std::vector<uint8_t>(h.pixels.size())};
  io::IdxArray labels{{h.size()}, {h.digits.begin(), h.digits.end()}};
  std::string table = "index,thickness,intensity\n";
  for (size_t i = 0; i < noise.size(); ++i) {
    const double thickness = thickness_of(noise[i]);
    table += fmt::format("{},{},{}\n", i, thickness, intensity_of(noise[i], thickness));
  }
  in_parallel(h.size(), [&](int64_t i) {
    const Noise& u = noise[static_cast<size_t>(i)];
    const double thickness = thickness_of(u);
    const GreyImage image = render(h.image(i), thickness, intensity_of(u, thickness));
    std::ranges::copy(image.pixels, images.values.begin() + i * h.height * h.width);
  });
  fs::create_directories(folder);
  io::write_idx(folder / file_of(split, "labels-idx1-ubyte.gz"), labels);
  io::atomic_write(folder / file_of(split, "morpho.csv"), table);
  io::write_idx(folder / file_of(split, "images-idx3-ubyte.gz"), images);
}

// What the cache holds, if it is whole and of this handwriting and noise.
std::optional<Dataset> read_cache(const fs::path& folder, Split split, const Handwriting& h,
                                  const std::vector<Noise>& noise) {
  try {
    IdxFiles files;
    const int s = static_cast<int>(split);
    files.images[s] = folder / file_of(split, "images-idx3-ubyte.gz");
    files.labels[s] = folder / file_of(split, "labels-idx1-ubyte.gz");
    files.table[s] = folder / file_of(split, "morpho.csv");
    Dataset set = load_idx(files, folder, split, "digit", kClasses);
    if (set.labels != h.digits || set.attributes.size() != 3) return {};
    for (size_t i = 0; i < noise.size(); ++i) {
      const double thickness = thickness_of(noise[i]);
      if (set.values[1][i] != thickness || set.values[2][i] != intensity_of(noise[i], thickness))
        return {};
    }
    return set;
  } catch (const Error&) {
    return {};
  }
}

}  // namespace

Noise sample_noise(uint64_t seed, uint64_t index) {
  Draws draws(seed, index);
  Noise noise;
  // Gamma(10, 5) is the sum of ten exponentials of rate 5.
  for (int i = 0; i < 10; ++i) noise.u_thickness -= std::log(draws.uniform()) / 5;
  noise.u_thickness = std::min(noise.u_thickness, kMaxThickness - kMinThickness);
  noise.u_intensity = draws.normal();
  return noise;
}

double thickness_of(const Noise& noise) {
  return kMinThickness + noise.u_thickness;
}

double intensity_of(const Noise& noise, double thickness) {
  const double logit = 0.5 * noise.u_intensity + 2 * thickness - 5;
  return kMinIntensity + (kMaxIntensity - kMinIntensity) / (1 + std::exp(-logit));
}

GreyImage render(const GreyImage& handwriting, double thickness, double intensity) {
  const auto digit = analyse(handwriting, kEditScale);
  if (!digit) return handwriting;
  return with_intensity(reduce(with_thickness(*digit, thickness)), intensity);
}

Dataset load_morpho(Split split, uint64_t seed) {
  Handwriting h = handwriting_of(split);
  std::vector<Noise> noise;
  for (int64_t i = 0; i < h.size(); ++i) noise.push_back(sample_noise(seed, world_index(split, i)));
  const fs::path folder = cache_folder("morpho") / fmt::format("{}-{}-{}", kRendering, seed,
                                                               io::sha256(h.pixels).substr(0, 12));
  std::optional<Dataset> set = read_cache(folder, split, h, noise);
  if (!set) {
    render_into(folder, split, h, noise);
    set = read_cache(folder, split, h, noise);
    require(set.has_value(), "{} does not hold what was written to it", io::show(folder));
  }
  set->name = "morpho";
  set->has_test = true;
  const auto attributes = attributes_of_world();
  std::ranges::copy(attributes, set->attributes.begin());
  set->plausible = plausible_digits();
  set->world = std::make_shared<MorphoWorld>(std::move(h), std::move(noise));
  return std::move(*set);
}

}  // namespace diffscm::data::morpho
