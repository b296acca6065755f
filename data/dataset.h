// Labelled images in memory, and where they come from.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/index_range.h"
#include "engine/tensor.h"

namespace diffscm::data {

struct Dataset {
  std::string name;
  int64_t height = 0, width = 0, channels = 0;
  int64_t classes = 0;          // labels are in [0, classes); 0 when there are no labels
  std::vector<float> pixels;    // [N, H, W, C] in [-1, 1]
  std::vector<int64_t> labels;  // [N], or empty

  int64_t size() const;
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
