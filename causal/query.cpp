#include "causal/query.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "causal/node_text.h"
#include "causal/parse_intervention.h"
#include "engine/io/file.h"
#include "engine/io/trim.h"
#include "kernels/error.h"

namespace diffscm::causal {
namespace {

constexpr double kZ = 1.959963984540054;  // of a 95% interval
constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Operator {
  std::string_view text;
  Term::Is is;
};
constexpr Operator kOperators[] = {{"", Term::Is::whatever}, {"=", Term::Is::equal},
                                   {"<", Term::Is::less},    {"<=", Term::Is::at_most},
                                   {">", Term::Is::more},    {">=", Term::Is::at_least}};

Term term_of(const NodeText& part, const Graph& graph) {
  const Node& n = graph[graph.find(part.node)];
  require(!n.is_latent(),
          "node {} is latent: nobody observes it, so it cannot be asked for or known",
          io::show(n.name()));
  Term term{graph.find(part.node)};
  term.is = std::ranges::find(kOperators, part.sign, &Operator::text)->is;
  if (term.is == Term::Is::whatever) return term;
  require(!n.is_discrete() || term.is == Term::Is::equal,
          "{}: {} has states, which are equal or not", io::show(part.text), n.name());
  term.value = parse_value(n, part.value);
  return term;
}

bool holds(const Term& term, double x) {
  switch (term.is) {
    case Term::Is::whatever:
      return true;
    case Term::Is::equal:
      return x == term.value;
    case Term::Is::less:
      return x < term.value;
    case Term::Is::at_most:
      return x <= term.value;
    case Term::Is::more:
      return x > term.value;
    case Term::Is::at_least:
      return x >= term.value;
  }
  return false;
}

std::string show(const Term& term, const Graph& graph) {
  const Node& node = graph[term.node];
  if (term.is == Term::Is::whatever) return quoted(node.name());
  const auto sign = std::ranges::find(kOperators, term.is, &Operator::is)->text;
  return fmt::format("{}{}{}", quoted(node.name()), sign, show_value(node, term.value));
}

std::string show(const std::map<size_t, double>& values, const Graph& graph) {
  std::string text;
  for (const auto& [node, value] : values) {
    if (!text.empty()) text += ", ";
    text += show({node, Term::Is::equal, value}, graph);
  }
  return text;
}

// "P(flu=1 | do(vaccinated=0), age=27)"; what was observed before do() stands after "in the world
// where".
std::string in_words(const std::vector<Term>& terms, const Question& question, const Graph& graph) {
  std::string of, conditions, set;
  for (const Term& term : terms) of += (of.empty() ? "" : ", ") + show(term, graph);
  for (const auto& [node, setting] : question.intervention) {
    if (!set.empty()) set += ", ";
    set += quoted(graph[node].name()) + "=" + setting.text;
  }
  const bool imagining = !set.empty() && !question.observed.empty();
  if (!set.empty()) conditions = "do(" + set + ")";
  const std::string given = show(question.given, graph), observed = show(question.observed, graph);
  if (!given.empty()) conditions += (conditions.empty() ? "" : ", ") + given;
  if (!imagining && !observed.empty()) conditions += (conditions.empty() ? "" : ", ") + observed;
  const bool mean =
      terms.size() == 1 && terms[0].is == Term::Is::whatever && !graph[terms[0].node].is_discrete();
  std::string text = (mean ? "E(" : "P(") + of;
  if (!conditions.empty()) text += " | " + conditions;
  text += ")";
  if (imagining) text += " where it was observed: " + observed;
  return text;
}

// The states of the nodes of the terms, by the place in their joint distribution.
std::vector<size_t> states_at(size_t place, const std::vector<Term>& terms, const Graph& graph) {
  std::vector<size_t> states(terms.size());
  for (size_t k = terms.size(); k-- > 0;) {
    const size_t count = graph[terms[k].node].attribute.states.size();
    states[k] = place % count;
    place /= count;
  }
  return states;
}

size_t joint_states(const std::vector<Term>& terms, const Graph& graph) {
  constexpr size_t kMaxLines = 10000;
  size_t product = 1;
  for (const Term& term : terms) {
    product *= graph[term.node].attribute.states.size();
    require(product <= kMaxLines, "a distribution over more than {} states: ask for fewer nodes",
            kMaxLines);
  }
  return product;
}

// Wilson 1927.
Line probability_line(std::string of, double p, double n) {
  const double centre = (p + kZ * kZ / (2 * n)) / (1 + kZ * kZ / n);
  const double half = kZ / (1 + kZ * kZ / n) * std::sqrt(p * (1 - p) / n + kZ * kZ / (4 * n * n));
  return {std::move(of), p, std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

class Asker {
 public:
  Asker(const StructuralCausalModel& model, const QueryText& text,
        const std::map<size_t, double>& known)
      : model_(model), graph_(model.graph()), terms_(parse_terms(text.of, graph_)) {
    for (const Term& term : terms_) question_.of.push_back(term.node);
    question_.given = parse_evidence(text.given, graph_);
    question_.observed = parse_evidence(text.observed, graph_);
    question_.observed.insert(known.begin(), known.end());
    question_.intervention = parse_intervention(text.set, graph_);
    distribution_ = terms_.front().is == Term::Is::whatever;
  }

  Answer ask(const AnswerOptions& options) {
    Answer a;
    a.rung = question_.intervention.empty() ? Rung::seeing
             : question_.observed.empty()   ? Rung::doing
                                            : Rung::imagining;
    a.question = in_words(terms_, question_, graph_);
    if (!options.demand_samples && why_not_exact(model_, question_).empty()) try {
        exactly(a);
        return a;
      } catch (const TooLarge&) {
      }
    by_samples(a, options);
    return a;
  }

 private:
  void exactly(Answer& a) {
    const ExactAnswer exact = answer_exactly(model_, question_);
    double event = 0;
    for (size_t place = 0; place < exact.probabilities.size(); ++place) {
      const auto states = states_at(place, terms_, graph_);
      const double p = exact.probabilities[place];
      if (distribution_) a.lines.push_back({name(states), p, p, p});
      bool all = true;
      for (size_t k = 0; k < terms_.size(); ++k)
        all = all && holds(terms_[k], static_cast<double>(states[k]));
      if (all) event += p;
    }
    if (!distribution_) a.lines.push_back({event_name(), event, event, event});
    a.exact = true;
    a.evidence = exact.evidence;
    a.method = fmt::format("exact: {} over {} variables",
                           a.rung == Rung::imagining ? "the twin network" : "variable elimination",
                           exact.variables);
  }

  void by_samples(Answer& a, const AnswerOptions& options) {
    const WeightedSamples s = draw_samples(model_, question_, options.sampling);
    const size_t n = s.weights.size();
    a.exact = s.deterministic;
    a.samples = s.deterministic ? 0 : static_cast<int64_t>(n);
    a.effective = s.deterministic ? 0 : s.effective();
    a.method = s.deterministic ? "exact: abduction, action, prediction, every noise known"
               : s.weighted
                   ? fmt::format("importance sampling: {} samples worth {:.0f}", n, a.effective)
                   : fmt::format("{} samples", n);
    const bool numbers =
        std::ranges::any_of(question_.of, [&](size_t node) { return !graph_[node].is_discrete(); });
    if (distribution_ && numbers) return means(a, s);
    const size_t places = distribution_ ? joint_states(terms_, graph_) : 1;
    std::vector<double> mass(places);
    double total = 0;
    for (size_t r = 0; r < n; ++r) {
      size_t place = 0;
      bool all = true;
      for (size_t k = 0; k < terms_.size(); ++k) {
        const double x = s.of[k].numbers[r];
        all = all && holds(terms_[k], x);
        if (distribution_)
          place = place * graph_[terms_[k].node].attribute.states.size() + static_cast<size_t>(x);
      }
      if (all) mass[place] += s.weights[r];
      total += s.weights[r];
    }
    for (size_t place = 0; place < places; ++place) {
      const double p = mass[place] / total;
      const std::string of = distribution_ ? name(states_at(place, terms_, graph_)) : event_name();
      a.lines.push_back(s.deterministic ? Line{of, p, p, p} : probability_line(of, p, a.effective));
    }
  }

  // The interval is wide where few samples have all the weight: of one, nothing is known.
  void means(Answer& a, const WeightedSamples& s) const {
    const double n = s.effective();
    for (size_t k = 0; k < terms_.size(); ++k) {
      double sum = 0, mean = 0, error = 0;
      for (size_t r = 0; r < s.weights.size(); ++r) {
        sum += s.weights[r];
        mean += s.weights[r] * s.of[k].numbers[r];
      }
      mean /= sum;
      for (size_t r = 0; r < s.weights.size(); ++r)
        error += std::pow(s.weights[r] / sum * (s.of[k].numbers[r] - mean), 2);
      const double half = s.deterministic ? 0
                          : n > 1         ? kZ * std::sqrt(error * n / (n - 1))
                                          : kInfinity;
      a.lines.push_back(
          {"mean of " + graph_[terms_[k].node].name(), mean, mean - half, mean + half});
    }
  }

  std::string name(const std::vector<size_t>& states) const {
    std::string text;
    for (size_t k = 0; k < states.size(); ++k) {
      if (k > 0) text += ", ";
      text += show({terms_[k].node, Term::Is::equal, static_cast<double>(states[k])}, graph_);
    }
    return text;
  }
  std::string event_name() const {
    std::string text;
    for (const Term& term : terms_) text += (text.empty() ? "" : ", ") + show(term, graph_);
    return text;
  }

  const StructuralCausalModel& model_;
  const Graph& graph_;
  std::vector<Term> terms_;
  Question question_;
  bool distribution_ = false;
};

}  // namespace

const char* name_of(Rung rung) {
  constexpr const char* kNames[] = {"seeing", "doing", "imagining"};
  return kNames[static_cast<int>(rung)];
}

std::vector<Term> parse_terms(std::string_view text, const Graph& graph) {
  require(!io::trimmed(text).empty(), "--of asks for nothing: give NODE, or NODE=VALUE");
  std::vector<Term> terms;
  std::set<size_t> seen;
  for (const NodeText& part : split_nodes(text, graph)) {
    terms.push_back(term_of(part, graph));
    const Term& term = terms.back();
    const Node& node = graph[term.node];
    require(seen.insert(term.node).second, "{} asks for {} twice", io::show(text), node.name());
    require((term.is == Term::Is::whatever) == (terms.front().is == Term::Is::whatever),
            "{}: ask for distributions (NODE) or for a probability (NODE=VALUE), not for both",
            io::show(text));
    require(node.kind != NodeKind::image, "node {} is an image: ask about its attributes",
            io::show(node.name()));
    require(node.is_discrete() || term.is != Term::Is::equal,
            "{}: {} is continuous and has any one value with probability 0: ask for {}<VALUE or {}",
            io::show(text), node.name(), node.name(), node.name());
    require(term.is != Term::Is::whatever ||
                node.is_discrete() == graph[terms.front().node].is_discrete(),
            "{}: ask for states and for means one after the other", io::show(text));
  }
  if (terms.front().is == Term::Is::whatever && graph[terms.front().node].is_discrete())
    joint_states(terms, graph);
  return terms;
}

std::map<size_t, double> parse_evidence(std::string_view text, const Graph& graph) {
  std::map<size_t, double> values;
  if (io::trimmed(text).empty()) return values;
  for (const NodeText& part : split_nodes(text, graph)) {
    const Term term = term_of(part, graph);
    require(term.is == Term::Is::equal, "{}: what is known is NODE=VALUE", io::show(part.text));
    require(values.emplace(term.node, term.value).second, "{} gives {} twice", io::show(text),
            graph[term.node].name());
  }
  return values;
}

void check_query(const Graph& graph, const QueryText& text) {
  parse_terms(text.of, graph);
  parse_evidence(text.given, graph);
  parse_evidence(text.observed, graph);
  parse_intervention(text.set, graph);
}

Answer answer(const StructuralCausalModel& model, const QueryText& text,
              const AnswerOptions& options, const std::map<size_t, double>& known) {
  return Asker(model, text, known).ask(options);
}

}  // namespace diffscm::causal
