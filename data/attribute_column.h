// What a column of a user's table is, a category or a number, from what stands in it.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "data/attribute.h"

namespace diffscm::data {

// Of all cells of the column, those of every split, so that the splits agree: at most kFewNumbers
// different whole numbers are the states of a category, in their order; other numbers are a number;
// names are the states of a category, in sorted order. Throws Error, beginning with `where`, for
// numbers beside names, what is not finite and names that are not UTF-8.
constexpr size_t kFewNumbers = 20;
Attribute attribute_of_cells(const std::string& name, const std::set<std::string>& cells,
                             std::string_view where);

// Whether it reads as a number, a finite one or not.
bool is_number(std::string_view cell);

}  // namespace diffscm::data
