// Both splits of pictures that are listed first, in folders or tar files, and decoded later.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "data/image_source.h"
#include "data/listing.h"

namespace diffscm::data {

struct ListedSplits {
  bool has_test = false;                    // without, the training images serve both splits
  std::function<Listing(bool tests)> list;  // of either split; called once for each at most
  // Of a split that is wanted: adds to its notes. Throws Error where it cannot be used.
  std::function<void(Listing& own, bool tests)> check;
  std::function<void(Dataset&)> name_classes;
};

// One set for each of `splits`. Both number their classes alike. Images that serve both splits are
// decoded once.
std::vector<Dataset> load_listed(std::span<const Split> splits, const ImageOptions& options,
                                 const ListedSplits& source);

}  // namespace diffscm::data
