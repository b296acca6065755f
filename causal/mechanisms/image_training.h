// Training the networks of an image mechanism.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "causal/mechanism.h"
#include "data/dataset.h"

namespace diffscm::causal {

struct ImageTraining {
  nlohmann::json unet, predictor;  // what differs from the usual configuration
  int64_t steps = 0, batch = 0;
  double lr = 0, drop = 0;
};

// The diffusion that all of them are trained for: schedule, timesteps, sampling_steps.
const nlohmann::json& image_diffusion();

// The images with the parents as attributes, under the parents' names. Throws Error without images,
// or when they are not square.
data::Dataset image_dataset(const Role& role, const Values& images, Parents parents);

// Part `part` of `parts` of a fit.
struct Part {
  int part = 0, parts = 1;
};
// Each trains one network in `folder`, or goes on where it stopped, and returns its model file. The
// U-Net is told the attributes `told`; a predictor of states is a classifier, of numbers a
// regressor, whose error is measured on `rest`, or, without any, on its training images. Throw
// Error when they were stopped, after what FitOptions::progress throws.
std::filesystem::path train_unet(const data::Dataset& dataset, const std::vector<std::string>& told,
                                 const ImageTraining& training, const FitOptions& options,
                                 const std::filesystem::path& folder, Part part);
std::filesystem::path train_predictor(const data::Dataset& rows, const data::Dataset& rest,
                                      const std::string& attribute, const ImageTraining& training,
                                      const FitOptions& options,
                                      const std::filesystem::path& folder, Part part);

// Takes the last tenth of the images, 1000 at most, out of `dataset`: those that predictors are not
// to see.
data::Dataset keep_apart(data::Dataset& dataset);

}  // namespace diffscm::causal
