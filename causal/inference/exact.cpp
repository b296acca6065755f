#include "causal/inference/exact.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "causal/inference/pair_probability.h"
#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::causal {
namespace {

constexpr size_t kMaxTable = size_t{1} << 24;

std::vector<bool> with_ancestors(const Graph& graph, const std::vector<size_t>& nodes,
                                 const Intervention* cut = nullptr) {
  std::vector<bool> marked(graph.size());
  for (const size_t node : nodes) marked[node] = true;
  for (size_t i = graph.size(); i-- > 0;)
    if (marked[i] && (cut == nullptr || !cut->contains(i)))
      for (const size_t parent : graph.parents(i)) marked[parent] = true;
  return marked;
}

std::vector<size_t> keys(const auto& map) {
  std::vector<size_t> all;
  for (const auto& [key, value] : map) all.push_back(key);
  return all;
}

// p(state | parents' states) of a node, [combinations, states], the last parent fastest.
std::vector<double> conditional_table(const StructuralCausalModel& model, size_t node) {
  const Graph& graph = model.graph();
  const size_t states = graph[node].attribute.states.size();
  size_t rows = states;
  for (const size_t p : graph.parents(node)) {
    rows *= graph[p].attribute.states.size();
    if (rows > kMaxTable)
      throw TooLarge(fmt::format("node {} has a table of more than {} entries: ask for samples",
                                 io::show(graph[node].name()), kMaxTable));
  }
  NodeValues parents;
  size_t period = states;
  for (size_t k = graph.parents(node).size(); k-- > 0;) {
    const size_t count = graph[graph.parents(node)[k]].attribute.states.size();
    std::vector<double> column(rows);
    for (size_t r = 0; r < rows; ++r) column[r] = static_cast<double>(r / period % count);
    parents.insert(parents.begin(), Values(std::move(column)));
    period *= count;
  }
  std::vector<double> value(rows);
  for (size_t r = 0; r < rows; ++r) value[r] = static_cast<double>(r % states);
  std::vector<const Values*> addresses;
  for (const Values& v : parents) addresses.push_back(&v);
  std::vector<double> p = model.mechanism(node).log_density(Values(std::move(value)), addresses);
  for (double& x : p) x = std::exp(x);
  return p;
}

// Of each natural state, what do() makes of it.
std::vector<double> set_values(const Node& node, const Setting& setting) {
  std::vector<double> natural(node.attribute.states.size());
  std::iota(natural.begin(), natural.end(), 0.0);
  return setting.set(Values(std::move(natural))).numbers;
}

// The same as states. Throws Error where there is no such state.
std::vector<size_t> set_states(const Node& node, const Setting& setting) {
  std::vector<size_t> states;
  for (const double value : set_values(node, setting)) {
    try {
      node.attribute.check(value);
    } catch (const Error& e) {
      fail("do({}={}): {}", node.name(), setting.text, e.what());
    }
    states.push_back(static_cast<size_t>(value));
  }
  return states;
}

// Whether do() sets it whatever is natural. (Of a number it does not matter here.)
bool is_constant(const Node& node, const Setting& setting) {
  if (!node.is_discrete()) return true;
  const std::vector<double> values = set_values(node, setting);
  return std::ranges::all_of(values, [&](double v) { return v == values.front(); });
}

// Which nodes a question is about, in which world.
struct Scope {
  Intervention cut;            // off from their parents: do() sets them whatever is natural
  std::vector<bool> reached;   // by do(): they stand there twice
  std::vector<bool> as_it_is;  // what was observed, and its ancestors
  std::vector<bool> under_do;  // what is asked or given, and its ancestors in the graph that is cut

  Scope(const Graph& graph, const Question& question) : reached(graph.size()) {
    const std::vector<size_t> set = keys(question.intervention);
    for (const size_t i : graph.descendants(set)) reached[i] = true;
    for (const size_t i : set) reached[i] = true;
    for (const auto& [node, setting] : question.intervention)
      if (is_constant(graph[node], setting)) cut.emplace(node, setting);
    as_it_is = with_ancestors(graph, keys(question.observed));
    std::vector<size_t> asked = question.of;
    for (const size_t node : keys(question.given)) asked.push_back(node);
    under_do = with_ancestors(graph, asked, &cut);
  }

  bool is_copied(size_t i) const { return under_do[i] && reached[i]; }
  bool is_original(size_t i) const { return as_it_is[i] || (under_do[i] && !reached[i]); }
  // Both at once, made of the same noise.
  bool is_pair(size_t i) const { return is_copied(i) && as_it_is[i] && !cut.contains(i); }
};

// Builds the factors of a question. Variable i is node i as it is; variable n + i, node i under
// do().
class Worlds {
 public:
  Worlds(const StructuralCausalModel& model, const Question& question)
      : model_(model), graph_(model.graph()), scope_(graph_, question), n_(graph_.size()) {
    for (const Node& node : graph_.nodes()) states_.push_back(node.attribute.states.size());
    states_.insert(states_.end(), states_.begin(), states_.end());
    for (const auto& [node, setting] : question.intervention)
      settings_.emplace(node, set_states(graph_[node], setting));
    for (const auto& [node, value] : question.observed) observe(node, value);
    for (const auto& [node, value] : question.given) observe(under_do(node), value);
  }

  std::vector<Factor> factors() {
    std::vector<Factor> all;
    for (size_t i = 0; i < n_; ++i) {
      const bool copied = scope_.is_copied(i), original = scope_.is_original(i);
      if (scope_.is_pair(i)) {
        all.push_back(pair(i));
        continue;
      }
      if (copied)
        all.push_back(scope_.cut.contains(i) ? constant(i) : conditional(i, /*copy=*/true));
      if (original) all.push_back(conditional(i, /*copy=*/false));
    }
    return all;
  }

  size_t under_do(size_t node) const { return scope_.reached[node] ? n_ + node : node; }
  const States& states() const { return states_; }
  const Evidence& evidence() const { return evidence_; }
  bool contradiction() const { return contradiction_; }

 private:
  void observe(size_t variable, double value) {
    const auto state = static_cast<size_t>(value);
    const auto [known, added] = evidence_.emplace(variable, state);
    if (!added && known->second != state) contradiction_ = true;
  }

  std::vector<size_t> slots(size_t i, bool copy) const {
    std::vector<size_t> variables = {copy ? n_ + i : i};
    for (const size_t p : graph_.parents(i)) variables.push_back(copy ? under_do(p) : p);
    return variables;
  }

  const std::vector<double>& table(size_t i) {
    if (table_of_ != i) table_ = conditional_table(model_, i);
    table_of_ = i;
    return table_;
  }
  std::span<const double> row(size_t i, std::span<const size_t> parents) {
    size_t at = 0;
    for (size_t k = 0; k < parents.size(); ++k)
      at = at * states_[graph_.parents(i)[k]] + parents[k];
    return std::span(table(i)).subspan(at * states_[i], states_[i]);
  }

  Factor constant(size_t i) {
    const std::vector<size_t> slot = {n_ + i};
    return make_factor(slot, states_, evidence_, [&](std::span<const size_t> s) {
      return s[0] == settings_.at(i).front() ? 1.0 : 0.0;
    });
  }

  // p(x | parents), in the world under do() when `copy`.
  Factor conditional(size_t i, bool copy) {
    const auto setting = copy ? settings_.find(i) : settings_.end();
    return make_factor(slots(i, copy), states_, evidence_, [&](std::span<const size_t> s) {
      const auto p = row(i, s.subspan(1));
      if (setting == settings_.end()) return p[s[0]];
      double sum = 0;
      for (size_t natural = 0; natural < p.size(); ++natural)
        if (setting->second[natural] == s[0]) sum += p[natural];
      return sum;
    });
  }

  // Both worlds: p(x, x' | parents, parents').
  Factor pair(size_t i) {
    std::vector<size_t> variables = slots(i, false);
    const size_t width = variables.size();
    const auto copies = slots(i, true);
    variables.insert(variables.end(), copies.begin(), copies.end());
    const Coupling coupling = model_.mechanism(i).coupling();
    const auto setting = settings_.find(i);
    return make_factor(variables, states_, evidence_, [&](std::span<const size_t> s) {
      const auto p = row(i, s.subspan(1, width - 1)), q = row(i, s.subspan(width + 1));
      if (setting == settings_.end()) return pair_probability(coupling, p, q, s[0], s[width]);
      double sum = 0;
      for (size_t natural = 0; natural < q.size(); ++natural)
        if (setting->second[natural] == s[width])
          sum += pair_probability(coupling, p, q, s[0], natural);
      return sum;
    });
  }

  const StructuralCausalModel& model_;
  const Graph& graph_;
  Scope scope_;
  size_t n_;
  States states_;
  std::map<size_t, std::vector<size_t>> settings_;
  Evidence evidence_;
  bool contradiction_ = false;
  std::vector<double> table_;
  size_t table_of_ = static_cast<size_t>(-1);
};

}  // namespace

std::string why_not_exact(const StructuralCausalModel& model, const Question& question) {
  const Graph& graph = model.graph();
  const Scope scope(graph, question);
  for (size_t i = 0; i < graph.size(); ++i) {
    const bool copied = scope.is_copied(i), original = scope.is_original(i);
    if (!copied && !original) continue;
    const Mechanism& mechanism = model.mechanism(i);
    if (!graph[i].is_discrete())
      return fmt::format("node {} is {}", io::show(graph[i].name()), name_of(graph[i].kind));
    if (!original && scope.cut.contains(i)) continue;  // nobody asks what it would be
    if (!mechanism.has_log_density())
      return fmt::format("node {} has no probabilities ({})", io::show(graph[i].name()),
                         mechanism.description());
    if (scope.is_pair(i) && mechanism.coupling() == Coupling::unknown)
      return fmt::format("the noise of node {} is not known in closed form ({})",
                         io::show(graph[i].name()), mechanism.description());
  }
  return {};
}

ExactAnswer answer_exactly(const StructuralCausalModel& model, const Question& question) {
  const std::string reason = why_not_exact(model, question);
  require(reason.empty(), "no exact answer: {}", reason);
  Worlds worlds(model, question);
  require(!worlds.contradiction(), "the evidence contradicts itself: its probability is 0");
  // What is known is not summed over; of what is asked and known, only that state is possible.
  std::vector<size_t> keep;
  for (const size_t node : question.of)
    if (!worlds.evidence().contains(worlds.under_do(node))) keep.push_back(worlds.under_do(node));
  std::vector<Factor> factors = worlds.factors();
  ExactAnswer answer;
  std::vector<bool> seen(worlds.states().size());
  for (const Factor& factor : factors)
    for (const size_t v : factor.variables)
      if (!seen[v]) {
        seen[v] = true;
        ++answer.variables;
      }
  const Sum sum = eliminate(std::move(factors), worlds.states(), keep);
  const double total = std::accumulate(sum.values.begin(), sum.values.end(), 0.0);
  require(total > 0, "the evidence has probability 0: nothing follows from it");
  answer.evidence = total * std::exp(sum.log_scale);
  // Spread over all of `of`, the known ones included.
  answer.probabilities = make_factor(
                             [&] {
                               std::vector<size_t> slots;
                               for (const size_t node : question.of)
                                 slots.push_back(worlds.under_do(node));
                               return slots;
                             }(),
                             worlds.states(), {},
                             [&](std::span<const size_t> s) {
                               size_t at = 0;
                               for (size_t k = 0; k < s.size(); ++k) {
                                 const size_t variable = worlds.under_do(question.of[k]);
                                 const auto known = worlds.evidence().find(variable);
                                 if (known != worlds.evidence().end()) {
                                   if (known->second != s[k]) return 0.0;
                                 } else {
                                   at = at * worlds.states()[variable] + s[k];
                                 }
                               }
                               return sum.values[at] / total;
                             })
                             .values;
  return answer;
}

}  // namespace diffscm::causal
