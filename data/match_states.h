// Every data set numbers the states of its categories by itself: which number is which to somebody
// else, a network or a causal graph?
#pragma once

#include <string_view>
#include <vector>

#include "data/dataset.h"

namespace diffscm::data {

// By state of `theirs`, a category of the data, the number that `ours` gives it: by name, else one
// by one. Some may be missing, as in a part of the data, where names or numbers say which. `whose`:
// what `ours` is to people, for messages. Throws Error naming a state that `ours` lacks.
std::vector<double> match_states(const Attribute& ours, std::string_view whose,
                                 const Attribute& theirs);

// Whether two number the same states in the same way. Throws what match_states() does.
bool same_states(const Attribute& ours, std::string_view whose, const Attribute& theirs);

// Numbers the states of the data's category of that name, and the labels if it is the first, as
// `ours` does. Nothing where the data have none. Throws what match_states() does.
void number_states(Dataset& dataset, const Attribute& ours, std::string_view whose);

}  // namespace diffscm::data
