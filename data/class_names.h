// What classes are called whose folders or numbers are not names.
#pragma once

#include <filesystem>
#include <optional>

#include "data/attribute.h"

namespace diffscm::data {

// The first of these that lies in `folder`: classes.txt, labels.csv, synset_words.txt,
// LOC_synset_mapping.txt, words.txt; or nothing.
std::optional<std::filesystem::path> find_class_names(const std::filesystem::path& folder);

// Names the states of `category`. The lines of the file are
// - "n01440764 tench, Tinca tinca": a state, then, after a blank, a tab or a comma, its name up to
//   the next comma. Lines of other states are passed over; or
// - a name each, in the order of the states, as many as there are; or
// - the states themselves, in any order: nothing changes.
// Names that several states share get their state in brackets: "crane (n02012849)". Throws Error
// naming the state without a line, or both counts.
void name_classes(Attribute& category, const std::filesystem::path& file);

}  // namespace diffscm::data
