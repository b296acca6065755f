#include "data/listed_splits.h"

#include <optional>

namespace diffscm::data {

std::vector<Dataset> load_listed(std::span<const Split> splits, const ImageOptions& options,
                                 const ListedSplits& source) {
  std::optional<Listing> listed[2];
  const auto listing = [&](bool tests) -> Listing& {
    std::optional<Listing>& found = listed[tests ? 1 : 0];
    if (!found) found = source.list(tests);
    return *found;
  };
  const auto build = [&](bool tests) {
    Listing& own = listing(tests);
    source.check(own, tests);
    Dataset set;
    set.has_test = source.has_test;
    set.notes = std::move(own.notes);
    add_images(set, std::move(own.pictures), options);
    if (own.columns.empty()) return set;
    const Listing none;
    const Listing& other = source.has_test ? listing(!tests) : none;
    add_columns(set, own, other, tests && !other.columns.empty() ? other : own);
    source.name_classes(set);
    return set;
  };
  std::vector<Dataset> sets;
  for (const Split split : splits)
    if (!source.has_test && !sets.empty())
      sets.push_back(sets.front());
    else
      sets.push_back(build(source.has_test && split == Split::test));
  return sets;
}

}  // namespace diffscm::data
