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

struct Dataset {
  std::string name;
  int64_t height = 0, width = 0, channels = 0;
  std::vector<float> pixels;  // [N, H, W, C] in [-1, 1]

  // What is known about the images: values[a][i] is that of attribute a and image i. The first
  // category is what classifiers learn; `labels` are its values and `classes` counts its states.
  std::vector<Attribute> attributes;
  std::vector<std::vector<double>> values;
  int64_t classes = 0;          // 0 when there are no labels
  std::vector<int64_t> labels;  // [N] in [0, classes), or empty

  // [classes]: which classes an image of each could plausibly have been. Empty: any other.
  std::vector<std::vector<int64_t>> plausible;
  std::shared_ptr<const World> world;  // knows the true counterfactuals; null where nobody does

  int64_t size() const;
  // Adds values[size()] of one more attribute, and the labels if it is the first category.
  void add(Attribute attribute, std::vector<double> values_of_it);
  // The attribute that `labels` belong to. Throws Error when there are no labels.
  const Attribute& label_attribute() const;
  // What is known of image i.
  Assignment factual(int64_t i) const;
  // The classes that a query about an image of class `label` draws from. Throws Error when there
  // is none, as in a data set of one class.
  std::vector<int64_t> plausible_targets(int64_t label) const;
  // [index.size(), H, W, C] on the cpu target. Throws Error on an index outside [0, size).
  Tensor images(std::span<const int64_t> index) const;
  // Throws Error on an index outside [0, size) and when there are no labels.
  std::vector<int64_t> labels_of(std::span<const int64_t> index) const;
};

enum class Split { train, test };
const char* name_of(Split split);
Split parse_split(std::string_view name);

// spec is one of
//   mnist        the 60,000 / 10,000 handwritten digits (data/mnist.h says where they are
//   sought) digits       generated digits with known counterfactuals (data/digits.h); `seed`
//   selects the
//                world, other sources ignore it
//   FOLDER       IDX files {train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz], or PNG files
//   FILE.npz     arrays images|x|arr_0 and labels|y|arr_1, or {train,test}_{images,labels}
// A folder or archive without separate test data serves both splits with the same images. Throws
// Error naming the file and what is wrong with it.
Dataset load_dataset(const std::string& spec, Split split, uint64_t seed = 0);

}  // namespace diffscm::data
