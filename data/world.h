// A source of images whose structural causal model is known, and with it every counterfactual.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/attribute.h"
#include "kernels/error.h"

namespace diffscm::data {

// Images are numbered as in the data set that carries the world. Both functions keep the exogenous
// noise of image i, replace the equations of the attributes that are set, and let their effects
// follow: abduction, action, prediction, exactly. Nothing set: the image as it is. They throw Error
// on an image that the data set does not have, an unknown attribute and a value out of its range.
class World {
 public:
  virtual ~World() = default;
  virtual Assignment attributes(int64_t i, const Assignment& set) const = 0;
  // [H, W, C] in [-1, 1]. Throws Error where it is not known.
  virtual std::vector<float> image(int64_t i, const Assignment& set) const = 0;
  // Whether the image is known. Throws Error as attributes() does.
  virtual bool knows_image(int64_t /*i*/, const Assignment& /*set*/) const { return true; }
  // What else of the exogenous noise of image i shows in it and has a name: counterfactuals keep
  // it.
  virtual Assignment style(int64_t /*i*/) const { return {}; }
  // The attributes that can be read off `image` [H, W, C], a counterfactual of image i, by
  // measuring alone: what judges use. One that cannot be measured is left out. Throws Error where
  // none can.
  virtual Assignment measure(int64_t /*i*/, std::span<const float> /*image*/) const {
    fail("this world cannot measure the attributes of an image");
  }
};

}  // namespace diffscm::data
