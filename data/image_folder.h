// Data sets as picture files in folders.
#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "data/image_source.h"

namespace diffscm::data {

// PNG, JPEG and WebP files, in order of name. Their classes, the attribute "class", are
// - the names of the subfolders they lie in, which data/class_names.h may name anew; or
// - in labels.csv, data/label_table.h; or
// - unknown: files side by side.
// Classes that are all numbers keep them as labels; names are numbered in sorted order, over both
// splits. Subfolders train and test, val or validation (the first whose pictures have classes where
// those of train do) serve their splits; with train alone (and no pictures in it, else it is a
// class) the training images serve both. What is not read is named in the notes. Throws Error on
// pictures of one folder that differ in nothing but the ending of their names. One set for each of
// `splits`.
std::vector<Dataset> load_image_folder(const std::filesystem::path& folder,
                                       std::span<const Split> splits,
                                       const ImageOptions& options = {});

}  // namespace diffscm::data
