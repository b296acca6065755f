#include "causal/mechanisms/measurement.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "causal/mechanisms/features.h"
#include "causal/mechanisms/parameters.h"
#include "causal/mechanisms/parent_network.h"
#include "data/morpho/morphometry.h"
#include "engine/parallel.h"

namespace diffscm::causal {
namespace {

constexpr double kExact = 1e-9;  // deviation where the data are what is measured

// Of one image's pixels in [-1, 1].
using Measure = double (*)(std::span<const float> pixels, int64_t height, int64_t width);

double brightness(std::span<const float> pixels, int64_t, int64_t) {
  double sum = 0;
  for (const float p : pixels) sum += (p + 1) / 2;
  return sum / static_cast<double>(pixels.size());
}

double contrast(std::span<const float> pixels, int64_t height, int64_t width) {
  const double mean = brightness(pixels, height, width);
  double squares = 0;
  for (const float p : pixels) squares += std::pow((p + 1) / 2 - mean, 2);
  return std::sqrt(squares / static_cast<double>(pixels.size()));
}

double ink(std::span<const float> pixels, int64_t, int64_t) {
  int64_t bright = 0;
  for (const float p : pixels) bright += p > 0;
  return static_cast<double>(bright) / static_cast<double>(pixels.size());
}

data::morpho::GreyImage levels(std::span<const float> pixels, int64_t height, int64_t width) {
  require(std::ssize(pixels) == height * width, "a colour image is no handwritten digit");
  data::morpho::GreyImage image;
  image.height = static_cast<int>(height);
  image.width = static_cast<int>(width);
  for (const float p : pixels)
    image.pixels.push_back(
        static_cast<uint8_t>(std::lround((std::clamp(p, -1.0f, 1.0f) + 1) * 127.5f)));
  return image;
}

double thickness(std::span<const float> pixels, int64_t height, int64_t width) {
  const auto m = data::morpho::measure(levels(pixels, height, width));
  return m ? m->thickness : 0;
}

double slant(std::span<const float> pixels, int64_t height, int64_t width) {
  const auto m = data::morpho::measure(levels(pixels, height, width));
  return m ? m->slant : 0;
}

double intensity(std::span<const float> pixels, int64_t height, int64_t width) {
  return data::morpho::intensity_of(levels(pixels, height, width));
}

struct Named {
  const char* name;
  Measure measure;
};
constexpr Named kMeasures[] = {
    {"brightness", brightness}, {"contrast", contrast},   {"ink", ink},
    {"thickness", thickness},   {"intensity", intensity}, {"slant", slant}};

class Measurement : public Mechanism {
 public:
  explicit Measurement(const Role& role) {
    require(role.node.kind == NodeKind::continuous, "the node is {}: a measurement is a number",
            name_of(role.node.kind));
    require(role.parents.size() == 1 && role.parents[0].kind == NodeKind::image,
            "a measurement has one parent, an image");
    Parameters parameters(role.node.mechanism.parameters);
    std::vector<std::string> names;
    for (const Named& m : kMeasures) names.push_back(m.name);
    name_ = parameters.choice("of", names);
    parameters.finish();
    for (const Named& m : kMeasures)
      if (name_ == m.name) measure_ = m.measure;
  }

  Abduction abduction() const override { return Abduction::exact; }
  Values abduct(const Values& value, Parents parents, const RowRandom&) const override {
    return combine(value.numbers, parents, -1);
  }
  Values predict(const Values& noise, Parents parents) const override {
    return combine(noise.numbers, parents, 1);
  }
  Values draw_noise(const RowRandom& random) const override {
    require(is_fitted(), "the mechanism is not fitted: run diffscm scm fit");
    std::vector<double> noise;
    for (int64_t i = 0; i < random.size(); ++i)
      noise.push_back(noise_.from(random.stream(i).normal()));
    return Values(std::move(noise));
  }
  bool has_log_density() const override { return true; }
  std::vector<double> log_density(const Values& value, Parents parents) const override {
    require(is_fitted(), "the mechanism is not fitted: run diffscm scm fit");
    std::vector<double> logs;
    for (const double noise : combine(value.numbers, parents, -1).numbers)
      logs.push_back(-0.5 * std::pow(noise_.to(noise), 2) - std::log(noise_.deviation) -
                     0.5 * std::log(2 * std::numbers::pi));
    return logs;
  }

  void fit(const Values& value, Parents parents, const FitOptions&) override {
    const std::vector<double> noise = combine(value.numbers, parents, -1).numbers;
    noise_ = Standard::of(noise);
    if (std::ranges::minmax(noise).min == std::ranges::minmax(noise).max) noise_.deviation = kExact;
    fitted_ = true;
  }
  bool is_fitted() const override { return fitted_; }
  MechanismState state() const override {
    MechanismState state;
    state.values["noise"] = noise_;
    return state;
  }
  void load(const MechanismState& given) override {
    MechanismState state = given;
    require(state.values.contains("noise"), "the value noise is missing");
    noise_ = state.values["noise"].get<Standard>();
    state.values.erase("noise");
    require_empty(state);
    fitted_ = true;
  }
  std::string description() const override { return "measurement of " + name_; }

 private:
  // x + sign * what is measured.
  Values combine(std::vector<double> x, Parents parents, double sign) const {
    const Tensor images = parents[0]->images.to(Target::cpu);
    const int64_t height = images.dim(1), width = images.dim(2),
                  pixels = images.numel() / std::max<int64_t>(images.dim(0), 1);
    in_parallel(std::ssize(x), [&](int64_t row) {
      x[static_cast<size_t>(row)] +=
          sign *
          measure_({images.data() + row * pixels, static_cast<size_t>(pixels)}, height, width);
    });
    return Values(std::move(x));
  }

  std::string name_;
  Measure measure_ = nullptr;
  Standard noise_;
  bool fitted_ = false;
};

}  // namespace

std::unique_ptr<Mechanism> make_measurement(const Role& role) {
  return std::make_unique<Measurement>(role);
}

}  // namespace diffscm::causal
