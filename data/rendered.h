// Data sets of built-in worlds whose images are rendered when they are loaded.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "data/dataset.h"

namespace diffscm::data {

// Renders image i [H, W, C] and returns its attributes, all of them.
using RenderImage = std::function<Assignment(int64_t i, std::span<float> image)>;

// `count` images of `shape` = {H, W, C}, rendered in parallel.
Dataset render_dataset(std::string name, const Shape& shape, int64_t count,
                       std::span<const Attribute> attributes, const RenderImage& render);

// Throws Error unless a world of that name has an image i among the `count` of the split.
void require_image(const char* world, Split split, int64_t i, int64_t count);

}  // namespace diffscm::data
