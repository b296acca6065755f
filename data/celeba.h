// CelebA (Liu et al. 2015) as it is published: a folder with list_attr_celeba.txt,
// list_eval_partition.txt and img_align_celeba/.
#pragma once

#include <filesystem>

#include "data/dataset.h"

namespace diffscm::data {

bool is_celeba(const std::filesystem::path& folder);

// The aligned JPEG files of 178 x 218 pixels: the middle 150 x 150 (left 14, top 34), made `size` x
// `size` as Pillow's antialiased bilinear resize does. Partition 0 is the train split, 2 the test
// split; 1, for validation, is not read.
// Attributes are the columns of list_attr_celeba.txt, -1 their first state and 1 their second: the
// four of faces first and named as there (data/faces.h), the others {no, yes}.
//
// `options`: "size=32", "count=1000", "size=32,count=1000": size 8 to 150 (else 64), and how many
// images of the split are read at most (else all; at 64 x 64 the 162,770 for training take 8 GB).
// Throws Error naming the file and the line of what is wrong: counts that differ, a value other
// than -1 and 1, an image that is in one list only, missing or damaged.
Dataset load_celeba(const std::filesystem::path& folder, Split split, std::string_view options);

}  // namespace diffscm::data
