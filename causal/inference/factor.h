// Tables over discrete variables, and sums of their products by variable elimination.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <span>
#include <vector>

#include "kernels/error.h"

namespace diffscm::causal {

// Variables are numbers; states[v] says how many states variable v has.
using States = std::vector<size_t>;
using Evidence = std::map<size_t, size_t>;  // variable -> its state

// A sum needs a table of more than 2^26 entries.
class TooLarge : public Error {
 public:
  using Error::Error;
};

struct Factor {
  std::vector<size_t> variables;  // all different
  std::vector<double> values;     // [states of each variable], the last fastest
};

// The factor of f over `slots`, with the variables of `evidence` fixed and left out. f gets one
// state per slot; a variable may have several slots. Throws TooLarge.
Factor make_factor(std::span<const size_t> slots, const States& states, const Evidence& evidence,
                   const std::function<double(std::span<const size_t>)>& f);

// sum over all variables but `keep` of the product of the factors, as values [states of keep, in
// that order] times exp(log_scale), which keeps products of many small numbers from vanishing.
struct Sum {
  std::vector<double> values;
  double log_scale = 0;
};

// Variables go in the order that adds the fewest edges between those left (min-fill; Kjaerulff
// 1990), the smallest table first among equals. Exact but for rounding. Throws Error when a table
// of more than 2^26 entries would be needed. Source: Koller & Friedman 2009, algorithm 9.1.
Sum eliminate(std::vector<Factor> factors, const States& states, std::span<const size_t> keep);

}  // namespace diffscm::causal
