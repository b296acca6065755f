// The joint distribution of a graph as the product of its mechanisms, in words.
#pragma once

#include <string>

#include "causal/scm.h"

namespace diffscm::causal {

// "p(age, vaccinated, flu) = p(age) p(vaccinated | age) p(flu | age, vaccinated)", broken into
// lines of at most `width` characters. Under do(), the factors of nodes that are set are gone, and
// what they are set to stands where they were parents (Pearl 2009, eq. 3.10); a node that is set to
// a function of its natural value keeps its factor, of that value, and gets one of its own:
// "p(natural income | age) [income = natural * 1.1]".
std::string factorisation(const Graph& graph, const Intervention& intervention = {},
                          size_t width = 100);

}  // namespace diffscm::causal
