#include "data/rendered.h"

#include "engine/parallel.h"
#include "kernels/error.h"

namespace diffscm::data {

Dataset render_dataset(std::string name, const Shape& shape, int64_t count,
                       std::span<const Attribute> attributes, const RenderImage& render) {
  Dataset set;
  set.name = std::move(name);
  set.height = shape[0];
  set.width = shape[1];
  set.channels = shape[2];
  const auto pixels = static_cast<size_t>(numel(shape));
  set.pixels.resize(static_cast<size_t>(count) * pixels);
  std::vector<Assignment> known(static_cast<size_t>(count));
  in_parallel(count, [&](int64_t i) {
    const auto at = static_cast<size_t>(i);
    known[at] = render(i, std::span(set.pixels).subspan(at * pixels, pixels));
  });
  for (const Attribute& attribute : attributes) {
    std::vector<double> values;
    for (const Assignment& of_image : known) values.push_back(of_image.at(attribute.name));
    set.add(attribute, std::move(values));
  }
  return set;
}

void require_image(const char* world, Split split, int64_t i, int64_t count) {
  require(i >= 0 && i < count, "{} has no {} image {}: give 0 to {}", world, name_of(split), i,
          count - 1);
}

}  // namespace diffscm::data
