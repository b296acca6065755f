// What a conditional network is told about the images of a data set: chosen attributes, and in
// training sometimes nothing.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "models/condition.h"

namespace diffscm {

// The named attributes ("class": the first category) as conditions; numbers are standardised by
// their mean and deviation over the data set. Throws Error for a name that the data set lacks.
std::vector<Condition> conditions_of(const data::Dataset& dataset,
                                     std::span<const std::string> names);

// values [index.size()][conditions] of these images, as condition_features() reads them.
std::vector<double> condition_values(std::span<const Condition> conditions,
                                     const data::Dataset& dataset, std::span<const int64_t> index);

// Forgets all conditions of an image (NaN) with probability `drop`, so that one network learns the
// conditional and the unconditional score (Ho & Salimans 2022). A function of (seed, step).
void forget(std::vector<double>& values, size_t conditions, double drop, uint64_t seed,
            int64_t step);

}  // namespace diffscm
