// Data sets in IDX files: MNIST and those that follow it (Fashion-MNIST, KMNIST, EMNIST, ...).
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace diffscm::data {

// The four files of one data set. Their names are [PREFIX-]{train,t10k,test}-{images,labels} and
// -idx3-ubyte or .idx3-ubyte (idx1 for labels), plain or .gz. Morpho-MNIST's have a table of
// further attributes beside them, [PREFIX-]{train,t10k,test}-morpho.csv.
struct IdxFiles {
  std::string prefix;                                                   // "emnist-letters"
  std::optional<std::filesystem::path> images[2], labels[2], table[2];  // by Split

  bool holds(Split split) const;  // images and labels
};

// One entry for each prefix in the folder, in order; none when it has no such file.
std::vector<IdxFiles> find_idx_files(const std::filesystem::path& folder);

// Pixels become x / 127.5 - 1, rows stay rows (the official Diff-SCM code transposes; we do not).
// The labels are the attribute of that name, with `classes` states at least. The columns of the
// table are numbers, but for `index`, which counts the images, and one that names the labels again.
// Without test files, the training images serve as test images too.
Dataset load_idx(const IdxFiles& files, const std::filesystem::path& folder, Split split,
                 const std::string& attribute = "class", int64_t classes = 0);

}  // namespace diffscm::data
