// Data sets as PNG files in folders.
#pragma once

#include <filesystem>

#include "data/dataset.h"

namespace diffscm::data {

// PNG files of one size, in order of name. Their classes, the attribute "class", are
// - the names of the subfolders they lie in; or
// - in labels.csv, lines "file,class". A first line whose file is not there is a header; its second
//   word names the attribute, which may then be a number; or
// - in labels.csv, a CSV file whose header names several attributes, "file,digit,thickness": each
// is
//   what attribute_of_cells() decides; or
// - unknown: files side by side.
// Classes that are all numbers keep them as labels; names are numbered in sorted order, over both
// splits. When the folder has subfolders train and test, each serves its split; with train alone
// (and no PNG files in it, else it is a class) the training images serve both. What is not read is
// named in the notes.
Dataset load_png_folder(const std::filesystem::path& folder, Split split);

}  // namespace diffscm::data
