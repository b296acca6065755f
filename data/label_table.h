// labels.csv: what is known of pictures that lie side by side.
#pragma once

#include <filesystem>

#include "data/listing.h"

namespace diffscm::data {

// Adds the columns of a table to a listing of pictures:
// - lines "file,class". A first line whose file is not there is a header; its second word names the
//   attribute, which may then be a number; or
// - a CSV file whose header names several attributes, "file,digit,thickness".
// Files are named as they are, or without what follows their last dot. Throws Error naming the
// line, or the picture that is not listed.
void read_label_table(const std::filesystem::path& table, Listing& listing);

}  // namespace diffscm::data
