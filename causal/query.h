// Questions as text, and their answers: seeing, doing and imagining in one syntax.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "causal/inference/exact.h"
#include "causal/inference/monte_carlo.h"

namespace diffscm::causal {

// What is asked of one node.
struct Term {
  size_t node;
  enum class Is { whatever, equal, less, at_most, more, at_least } is = Is::whatever;
  double value = 0;
};

// "flu=1", "income>50": the probability of all of it. "flu", "flu,age": the distribution over their
// states. "income": its mean. causal/node_text.h says more. Throws Error naming the part that is
// wrong, an unknown node or state with those there are, a latent node, and what cannot be asked
// together.
std::vector<Term> parse_terms(std::string_view text, const Graph& graph);
// "age=27,vaccinated=1": values by node. Throws Error likewise.
std::map<size_t, double> parse_evidence(std::string_view text, const Graph& graph);

enum class Rung { seeing, doing, imagining };
const char* name_of(Rung rung);

struct Line {
  std::string of;  // "flu=1", "mean of income"
  double value = 0;
  double low = 0, high = 0;  // 95% interval; the value itself when it is exact
};

struct Answer {
  Rung rung = Rung::seeing;
  std::string question;  // "P(flu=1 | do(vaccinated=0))"
  std::vector<Line> lines;
  bool exact = false;
  std::string method;   // "exact: variable elimination over 5 variables"
  double evidence = 1;  // its probability, where the answer is exact
  int64_t samples = 0;  // drawn, and what they are worth; 0 when exact
  double effective = 0;
};

struct QueryText {
  std::string of{}, given{}, observed{}, set{};
};

// Throws Error unless all four say something about the graph.
void check_query(const Graph& graph, const QueryText& text);

// Exact where why_not_exact() has no objection and the sum is not too large, unless samples are
// demanded; else by samples,
// whose interval is Wilson's score interval of the effective sample size for probabilities,
// and 1.96 standard errors for means.
struct AnswerOptions {
  SampleOptions sampling{};
  bool demand_samples = false;
};
// `known`: values of more nodes that were observed (a row of a table).
Answer answer(const StructuralCausalModel& model, const QueryText& text,
              const AnswerOptions& options = {}, const std::map<size_t, double>& known = {});

}  // namespace diffscm::causal
