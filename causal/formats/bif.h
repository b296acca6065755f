// BIF, the Bayesian network interchange format (Cozman 1998), as bnlearn's repository and pgmpy
// write it.
#pragma once

#include <string>
#include <string_view>

#include "causal/formats/graph_file.h"

namespace diffscm::causal {

// Nodes with the mechanism `table`. Read is
//   network NAME { .. }
//   variable NAME { type discrete [ N ] { STATE, .. }; }
//   probability ( NAME | PARENT, .. ) { (STATE, ..) P, ..;  default P, ..;  table P, ..; }
// Rows are found by the names of their states, in any order. A `table` with parents lists state by
// state over the combinations of the parents, the last fastest. Properties and comments (// and
// /* */) are skipped; commas are blanks; names may be quoted.
// Probabilities are made to sum to 1 exactly: silently within 1e-6, with a note within 1e-3. Throws
// Error naming `where` and the line on anything else.
GraphFile parse_bif(std::string_view text, std::string_view where);

// One row per combination of the parents' states, the last parent fastest; numbers in as many
// digits as it takes to read them back to the bit. Throws Error naming a node that is not discrete
// or has no table.
std::string to_bif(const Graph& graph);

}  // namespace diffscm::causal
