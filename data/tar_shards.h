// Data sets in tar files, as WebDataset writes them.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "data/image_source.h"

namespace diffscm::data {

// The files of "FOLDER/train-{0000..0146}.tar", one for each number; the name itself where it has
// no braces. Throws Error on braces that are no range of whole numbers, and on more than a million.
std::vector<std::filesystem::path> expand_shards(std::string_view pattern);

// Whether --data means tar files: it ends in .tar, in braces or not, or is a folder that holds
// some, itself or in a subfolder train.
bool is_tar(const std::filesystem::path& path);

// Members whose names agree up to the first dot after their folder are one sample, if they follow
// each other: KEY.jpg (.jpeg, .png, .webp), and of its class and attributes
// - KEY.cls: a number or a name, the attribute "class";
// - KEY.json: an object. Its numbers, texts and truths are attributes, by attribute_of_cells().
// Other members, and texts that no two images share (captions), are passed over, which the notes
// say. Of files that are called so (or lie in such folders) train* serve for training and test*,
// val* or validation* for testing; without, all serve both. data/class_names.h may name the
// classes, from beside the files. Only regular files are looked at, and nothing is unpacked.
// Throws Error naming the file and the member: of a compressed or damaged archive, a sample that
// lacks what others have, two pictures in one sample. One set for each of `splits`.
std::vector<Dataset> load_tar(const std::filesystem::path& path, std::span<const Split> splits,
                              const ImageOptions& options);

}  // namespace diffscm::data
