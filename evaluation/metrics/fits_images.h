// Whether a network takes the images of a data set.
#pragma once

#include <string_view>

#include "data/dataset.h"
#include "kernels/error.h"

namespace diffscm {

// Throws Error, which begins with `what`, unless it does. `config`: the network's.
template <class Config>
void require_fits_images(const Config& config, const data::Dataset& dataset,
                         std::string_view what) {
  const int64_t side = config.image_size;
  require(side == dataset.height && side == dataset.width && config.in_channels == dataset.channels,
          "{} is for {}x{}x{} images, {} has {}x{}x{}", what, side, side, config.in_channels,
          dataset.name, dataset.height, dataset.width, dataset.channels);
}

}  // namespace diffscm
