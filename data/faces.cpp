#include "data/faces.h"

#include <limits>

#include "data/draws.h"
#include "data/rendered.h"
#include "kernels/error.h"

namespace diffscm::data {
namespace {

int64_t size_of(Split split) {
  return split == Split::train ? kFacesTrain : kFacesTest;
}

Assignment assignment(const FaceParents& p) {
  return {{"Young", p.young}, {"Male", p.male}, {"No_Beard", p.shaven}, {"Bald", p.bald}};
}

class FacesWorld : public World {
 public:
  FacesWorld(Split split, uint64_t seed, int64_t side) : split_(split), seed_(seed), side_(side) {}

  Assignment attributes(int64_t i, const Assignment& set) const override {
    return assignment(face_parents(noise_of(i), set));
  }
  std::vector<float> image(int64_t i, const Assignment& set) const override {
    const FaceNoise noise = noise_of(i);
    return drawn(face_parents(noise, set), noise);
  }
  Assignment style(int64_t i) const override {
    const FaceNoise noise = noise_of(i);
    return {{"shift_x", noise.shift_x},
            {"shift_y", noise.shift_y},
            {"tilt", noise.tilt},
            {"scale", noise.scale},
            {"skin", noise.skin},
            {"hair", noise.hair},
            {"background_depth", noise.background_depth},
            {"light_x", noise.light_x},
            {"width", noise.width},
            {"smile", noise.smile}};
  }
  Assignment measure(int64_t i, std::span<const float> image) const override {
    require(std::ssize(image) == pixels(), "a face has {} values, not {}", pixels(), image.size());
    const FaceNoise noise = noise_of(i);
    FaceParents best;
    double least = std::numeric_limits<double>::infinity();
    for (unsigned k = 0; k < 16; ++k) {
      const FaceParents p{(k & 1) != 0, (k & 2) != 0, (k & 4) != 0, (k & 8) != 0};
      const std::vector<float> candidate = drawn(p, noise);
      double distance = 0;
      for (size_t j = 0; j < candidate.size(); ++j) {
        const double d = candidate[j] - image[j];
        distance += d * d;
      }
      if (distance < least) {
        least = distance;
        best = p;
      }
    }
    return assignment(best);
  }

 private:
  FaceNoise noise_of(int64_t i) const {
    require_image("faces", split_, i, size_of(split_));
    return sample_face_noise(seed_, world_index(split_, i));
  }
  int64_t pixels() const { return side_ * side_ * 3; }
  std::vector<float> drawn(const FaceParents& parents, const FaceNoise& noise) const {
    std::vector<float> image(static_cast<size_t>(pixels()));
    render(parents, noise, side_, image);
    return image;
  }

  Split split_;
  uint64_t seed_;
  int64_t side_;
};

}  // namespace

std::array<Attribute, 4> face_attributes() {
  return {Attribute{.name = "Young", .states = {"old", "young"}},
          Attribute{.name = "Male", .states = {"female", "male"}},
          Attribute{.name = "No_Beard", .states = {"bearded", "shaven"}},
          Attribute{.name = "Bald", .states = {"hair", "bald"}}};
}

FaceNoise sample_face_noise(uint64_t seed, uint64_t index) {
  Draws draws(seed, index);
  FaceNoise noise;
  noise.u_young = draws.uniform();
  noise.u_male = draws.uniform();
  noise.u_shaven = draws.uniform();
  noise.u_bald = draws.uniform();
  noise.shift_x = draws.normal(0.8, 1.8);
  noise.shift_y = draws.normal(0.5, 1.2);
  noise.tilt = draws.normal(0.06, 0.16);
  noise.scale = 1 + draws.normal(0.03, 0.07);
  noise.skin = draws.uniform();
  noise.hair = draws.uniform();
  noise.eyes = draws.uniform();
  noise.background = draws.uniform();
  noise.background_depth = draws.uniform();
  noise.shirt = draws.uniform();
  noise.shirt_depth = draws.uniform();
  noise.light_x = draws.uniform(-1, 1);
  noise.light_y = draws.uniform(-1, 0);
  noise.light_strength = draws.uniform();
  noise.width = draws.normal(0.35, 0.8);
  noise.jaw = draws.normal(0.35, 0.8);
  noise.volume = draws.uniform();
  noise.parting = draws.uniform(-1, 1);
  noise.fringe = draws.uniform();
  noise.length = draws.uniform();
  noise.fullness = draws.uniform();
  noise.smile = draws.uniform();
  noise.brows = draws.uniform(-1, 1);
  noise.gaze = draws.uniform(-1, 1);
  return noise;
}

FaceParents face_parents(const FaceNoise& noise, const Assignment& set) {
  static const auto known = face_attributes();
  std::array<int, 4> given{-1, -1, -1, -1};
  for (const auto& [name, value] : set) {
    const Attribute& attribute = find_attribute(known, name);
    attribute.check(value);
    given[static_cast<size_t>(&attribute - known.data())] = static_cast<int>(value);
  }
  const auto state = [&](size_t a, double u, double p_first) {
    return given[a] < 0 ? u >= p_first : given[a] == 1;
  };
  FaceParents p;
  p.young = state(0, noise.u_young, kOld);
  p.male = state(1, noise.u_male, kFemale);
  p.shaven = state(2, noise.u_shaven, kBearded[p.young][p.male]);
  p.bald = state(3, noise.u_bald, kHaired[p.young][p.male]);
  return p;
}

int64_t parse_face_side(std::string_view options) {
  if (options == "size=32") return kFaceSide;
  require(options == "size=64", "faces:{}: give faces or faces:size=64", options);
  return kLargeFaceSide;
}

Dataset load_faces(Split split, uint64_t seed, int64_t side) {
  Dataset set = render_dataset("faces", {side, side, 3}, size_of(split), face_attributes(),
                               [&](int64_t i, std::span<float> image) {
                                 const FaceNoise noise =
                                     sample_face_noise(seed, world_index(split, i));
                                 const FaceParents parents = face_parents(noise);
                                 render(parents, noise, side, image);
                                 return assignment(parents);
                               });
  set.world = std::make_shared<FacesWorld>(split, seed, side);
  return set;
}

}  // namespace diffscm::data
