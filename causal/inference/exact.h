// Exact answers about discrete graphs, on all three rungs.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "causal/inference/factor.h"
#include "causal/scm.h"

namespace diffscm::causal {

// P(of, in the world of do | given, in that world; observed, in the world as it is). Without do()
// the two worlds are one.
struct Question {
  std::vector<size_t> of;            // nodes, all different
  std::map<size_t, double> given{};  // node -> its value
  std::map<size_t, double> observed{};
  Intervention intervention{};
};

// Whether the answer can be exact: every node that matters is discrete, its probabilities are known
// and, for a counterfactual, so is how its noise couples its states. Says why not.
std::string why_not_exact(const StructuralCausalModel& model, const Question& question);

struct ExactAnswer {
  std::vector<double> probabilities;  // [states of each of `of`], the last fastest; they sum to 1
  double evidence = 0;                // probability of all that was given and observed
  size_t variables = 0;               // of the sum, in both worlds together
};

// Variable elimination in the graph under do() (seeing, doing), or, with something observed and
// something done, in the twin network (Balke & Pearl 1994): the nodes that do() reaches stand there
// twice, tied by pair_probability(). Throws Error when the evidence has probability 0, or the sum
// is too large.
ExactAnswer answer_exactly(const StructuralCausalModel& model, const Question& question);

}  // namespace diffscm::causal
