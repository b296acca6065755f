// Data sets in an .npz archive or a folder of PNG files.
#pragma once

#include <filesystem>

#include "data/dataset.h"

namespace diffscm::data {

// Arrays {train,test}_images and {train,test}_labels; else images|x|arr_0 and labels|y|arr_1, which
// then serve both splits. Images are [N, H, W] or [N, H, W, C] with 1 or 3 channels, uint8 (x /
// 127.5 - 1) or floating point in [-1, 1]. Labels are integers from 0 and may be missing.
Dataset load_npz(const std::filesystem::path& path, Split split);

// PNG files of one size, in order of name: in subfolders 0, 1, ... named by class; or side by side
// with labels.csv (lines "file,label", a header line allowed); or side by side without labels. When
// the folder has subfolders train and test, each serves its split.
Dataset load_png_folder(const std::filesystem::path& folder, Split split);

}  // namespace diffscm::data
