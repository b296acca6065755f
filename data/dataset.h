// Labelled images in memory, and where they come from.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/attribute.h"
#include "data/index_range.h"
#include "data/world.h"
#include "engine/tensor.h"

namespace diffscm::data {

class ImageSource;

struct Dataset {
  std::string name;
  int64_t height = 0, width = 0, channels = 0;
  std::vector<float> pixels;  // [N, H, W, C] in [-1, 1]; empty: `source` decodes the images
  std::shared_ptr<const ImageSource> source;  // of images in files (data/image_source.h), or null

  // What is known about the images: values[a][i] is that of attribute a and image i. The first
  // category is what classifiers learn; `labels` are its values and `classes` counts its states.
  std::vector<Attribute> attributes;
  std::vector<std::vector<double>> values;
  int64_t classes = 0;          // 0 when there are no labels
  std::vector<int64_t> labels;  // [N] in [0, classes), or empty

  // [classes]: which classes an image of each could plausibly have been. Empty: any other.
  std::vector<std::vector<int64_t>> plausible;
  std::shared_ptr<const World> world;  // knows the true counterfactuals; null where nobody does

  bool has_test = true;            // false: the source has no test data, both splits are the same
  std::vector<std::string> notes;  // what a person should know about how it was read

  int64_t size() const;
  // Adds values[size()] of one more attribute, and the labels if it is the first category.
  void add(Attribute attribute, std::vector<double> values_of_it);
  // Makes that category the first. Throws Error naming those there are.
  void learn(std::string_view category);
  // The attribute that `labels` belong to. Throws Error when there are no labels.
  const Attribute& label_attribute() const;
  // What the file of a model says of the data that it was trained on.
  nlohmann::json description() const;
  // What is known of image i.
  Assignment factual(int64_t i) const;
  // The classes that a query about an image of class `label` draws from. Throws Error when there
  // is none, as in a data set of one class.
  std::vector<int64_t> plausible_targets(int64_t label) const;
  // [index.size(), H, W, C] on the cpu target. Throws Error on an index outside [0, size), and on a
  // damaged file of images that are decoded when they are needed.
  Tensor images(std::span<const int64_t> index) const;
  // Throws Error on an index outside [0, size) and when there are no labels.
  std::vector<int64_t> labels_of(std::span<const int64_t> index) const;
};

enum class Split { train, test };
const char* name_of(Split split);
Split parse_split(std::string_view name);

// From level 0 to 255 to [-1, 1].
inline float pixel_of_byte(uint8_t level) {
  return static_cast<float>(level) / 127.5f - 1.0f;
}

// What load_dataset() takes, in short.
constexpr const char* kSources =
    "mnist, a built-in world (digits, faces, morpho, pendulum), a folder (IDX, pictures, CelebA's "
    "files), tar files or an .npz";

// spec is one of
//   mnist                   data/mnist.h
//   digits, faces, pendulum data/digits.h, ..; `seed` selects the world, other sources ignore it
//   faces:size=64           data/faces.h
//   morpho                  data/morpho/morpho.h; `seed` as well
//   FOLDER                  of IDX files, data/idx_folder.h
//   FOLDER[:size=N,..]      of PNG, JPEG and WebP files, data/image_folder.h, data/image_source.h
//   FILES.tar[:size=N,..]   as WebDataset writes them, several as in shards-{0000..0009}.tar, or a
//   FOLDER[:size=N,..]      of them, data/tar_shards.h
//   FOLDER[:size=N,count=N] CelebA as published, data/celeba.h
//   FOLDER/PREFIX           IDX files PREFIX-train-..., one of several data sets in a folder
//   FILE.npz                data/npz_archive.h
//   FILE.npz:range=LOW,HIGH and what black and white are among its floating-point values
// A source without test data serves both splits with the same images, and a note says so. Throws
// Error naming the file and what is wrong with it.
Dataset load_dataset(const std::string& spec, Split split, uint64_t seed = 0);

}  // namespace diffscm::data
