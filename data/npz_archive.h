// Data sets in an .npz archive of NumPy.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "data/dataset.h"
#include "engine/io/file.h"

namespace diffscm::data {

// Images are the array {train,test}_images or x_{train,test}; else images, x or arr_0, which then
// serves both splits. Labels are {train,test}_labels or y_{train,test}; else labels, y or arr_1;
// they may be missing. Capitals do not matter.
//
// Further arrays with one number per image are attributes, train_thickness and test_thickness, or
// thickness_train, or without splits thickness: floating point a number, integers and bools what
// attribute_of_cells() decides. Arrays of another kind are named in the notes; in an archive with
// splits, those that name none are not looked at.
//
// Images are [N, H, W] or [N, H, W, C] with 1 or 3 channels: uint8 (0 to 255), bool (black, white)
// or floating point. `range`, "LOW,HIGH", says which values of floating-point images are black and
// white. Empty: -1 and 1, or 0 and 1 when no image of either split has a negative value; a note
// says which. Labels are whole numbers from 0, in any type. Throws Error naming file and array;
// what an array is and that it fits into `memory` bytes is known before it is inflated.
Dataset load_npz(const std::filesystem::path& path, Split split, const std::string& range = "",
                 uint64_t memory = io::machine_memory());

}  // namespace diffscm::data
