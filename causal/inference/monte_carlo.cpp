#include "causal/inference/monte_carlo.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::causal {
namespace {

constexpr int64_t kBatch = 8192;
using Known = std::map<size_t, double>;

// Which nodes the question depends on, and how.
struct Plan {
  Plan(const StructuralCausalModel& model, const Question& q)
      : imagining(!q.observed.empty() && !q.intervention.empty()) {
    const Graph& graph = model.graph();
    known = q.observed;
    if (!imagining)
      for (const auto& [node, value] : q.given)
        require(known.emplace(node, value).first->second == value,
                "the evidence contradicts itself: its probability is 0");
    std::vector<size_t> nodes = q.of;
    for (const auto& [node, value] : q.given) nodes.push_back(node);
    for (const auto& [node, value] : q.observed) nodes.push_back(node);
    matters.resize(graph.size());
    for (const size_t node : nodes) matters[node] = true;
    for (const size_t node : graph.ancestors(nodes)) matters[node] = true;
    predicted.resize(graph.size());
    deterministic = imagining;
    std::vector<bool> reached(graph.size());
    for (size_t i = 0; i < graph.size(); ++i) {
      const bool follows =
          std::ranges::any_of(graph.parents(i), [&](size_t p) { return reached[p]; });
      const auto setting = q.intervention.find(i);
      const bool is_set = setting != q.intervention.end();
      reached[i] = follows || is_set;
      predicted[i] = imagining && follows && !(is_set && !setting->second.uses_natural);
      const bool is_certain = known.contains(i) &&
                              (!predicted[i] || model.mechanism(i).abduction() == Abduction::exact);
      if (matters[i] && !is_certain) deterministic = false;
    }
  }
  // A factor of the weight that every sample shares need not be known.
  bool weighs(const Graph& graph, size_t node) const {
    return known.contains(node) &&
           !std::ranges::all_of(graph.parents(node), [&](size_t p) { return known.contains(p); });
  }

  bool imagining;  // two worlds
  Known known;     // in the world as it is, or in the only one
  std::vector<bool> matters;
  std::vector<bool> predicted;  // anew under do(), from the noise
  bool deterministic;
};

Values constant(double value, int64_t rows) {
  return Values(std::vector<double>(static_cast<size_t>(rows), value));
}

Values set(const Node& node, const Setting& setting, const Values& natural) {
  Values values = setting.set(natural);
  for (const double v : values.numbers) try {
      node.attribute.check(v);
    } catch (const Error& e) {
      fail("do({}={}): {}", node.name(), setting.text, e.what());
    }
  return values;
}

std::vector<const Values*> addresses(const NodeValues& values) {
  std::vector<const Values*> all;
  for (const Values& v : values) all.push_back(&v);
  return all;
}

// One batch of samples.
class Batch {
 public:
  Batch(const StructuralCausalModel& model, const Question& question, const Plan& plan, Rows rows)
      : model_(model),
        graph_(model.graph()),
        question_(question),
        plan_(plan),
        rows_(std::move(rows)),
        value_(graph_.size()),
        noise_(graph_.size()),
        log_weight(rows_.index.size()) {
    for (size_t i = 0; i < graph_.size(); ++i)
      if (plan_.matters[i]) plan_.known.contains(i) ? fix(i) : draw(i);
    if (plan_.imagining) imagine();
  }

  const Values& value(size_t node) const { return value_[node]; }

 private:
  int64_t size() const { return std::ssize(rows_.index); }
  std::string shown(size_t i, double value) const {
    return graph_[i].name() + "=" + graph_[i].attribute.show(value);
  }

  void draw(size_t i) {
    const Mechanism& mechanism = model_.mechanism(i);
    noise_[i] = mechanism.draw_noise(model_.random(i, kernels::Purpose::exogenous, rows_));
    value_[i] = mechanism.predict(noise_[i], model_.parent_values(i, value_));
    const auto setting = question_.intervention.find(i);
    if (!plan_.imagining && setting != question_.intervention.end())
      value_[i] = set(graph_[i], setting->second, value_[i]);
  }

  void fix(size_t i) {
    const Mechanism& mechanism = model_.mechanism(i);
    const double known = plan_.known.at(i);
    const auto setting = question_.intervention.find(i);
    if (!plan_.imagining && setting != question_.intervention.end()) {
      draw(i);  // given what do() has set: those samples that have it
      keep_where(i, known);
      return;
    }
    value_[i] = constant(known, size());
    const auto parents = model_.parent_values(i, value_);
    if (plan_.weighs(graph_, i)) {
      require(mechanism.has_log_density(),
              "node {} is known and its parents are not: that needs its density, which its "
              "mechanism ({}) does not have",
              io::show(graph_[i].name()), mechanism.description());
      const auto logs = mechanism.log_density(value_[i], parents);
      for (size_t r = 0; r < logs.size(); ++r) log_weight[r] += logs[r];
    }
    const bool abducts = mechanism.abduction() != Abduction::impossible;
    if (plan_.predicted[i] || (plan_.imagining && abducts))  // unneeded, it tells a contradiction
      abduct(i);
    else if (!plan_.weighs(graph_, i) && mechanism.has_log_density())
      require_possible(i);
  }

  // Rows that the evidence so far does not exclude.
  std::vector<int64_t> possible() const {
    std::vector<int64_t> rows;
    for (size_t r = 0; r < log_weight.size(); ++r)
      if (log_weight[r] > -std::numeric_limits<double>::infinity())
        rows.push_back(static_cast<int64_t>(r));
    return rows;
  }

  NodeValues parents_in(size_t i, std::span<const int64_t> rows) const {
    NodeValues selected;
    for (const Values* parent : model_.parent_values(i, value_))
      selected.push_back(parent->select(rows));
    return selected;
  }

  // The factor that every sample shares, which is not needed unless it is zero.
  void require_possible(size_t i) const {
    const std::vector<int64_t> rows = possible();
    if (rows.empty()) return;
    const auto first = std::span(rows).first(1);
    const NodeValues parents = parents_in(i, first);
    const auto logs = model_.mechanism(i).log_density(value_[i].select(first), addresses(parents));
    require(logs[0] > -std::numeric_limits<double>::infinity(),
            "{} has probability 0 given what else is known: nothing follows from it",
            shown(i, plan_.known.at(i)));
  }

  // The noise of a known node, in the rows whose parents allow its value.
  void abduct(size_t i) {
    const Mechanism& mechanism = model_.mechanism(i);
    require(mechanism.abduction() != Abduction::impossible,
            "node {} is observed, and its mechanism ({}) cannot abduct its noise",
            io::show(graph_[i].name()), mechanism.description());
    const std::vector<int64_t> rows = possible();
    noise_[i] = mechanism.draw_noise(model_.random(i, kernels::Purpose::exogenous, rows_));
    if (rows.empty()) return;
    Rows some{rows_.seed, {}};
    for (const int64_t r : rows) some.index.push_back(rows_.index[static_cast<size_t>(r)]);
    const NodeValues parents = parents_in(i, rows);
    noise_[i].assign(rows, mechanism.abduct(value_[i].select(rows), addresses(parents),
                                            model_.random(i, kernels::Purpose::abduction, some)));
  }

  // Prediction under do() with the noise as it is; what is given there keeps or drops a sample.
  void imagine() {
    NodeValues factual = value_;
    for (size_t i = 0; i < graph_.size(); ++i) {
      if (!plan_.matters[i]) continue;
      if (plan_.predicted[i]) {
        value_[i] = model_.mechanism(i).predict(noise_[i], model_.parent_values(i, value_));
        keep_factual(i, factual);
      }
      const auto setting = question_.intervention.find(i);
      if (setting != question_.intervention.end())
        value_[i] = set(graph_[i], setting->second, value_[i]);
    }
    for (const auto& [node, value] : question_.given) keep_where(node, value);
  }

  // do() of what is so already changes nothing, to the bit.
  void keep_factual(size_t i, const NodeValues& factual) {
    std::vector<int64_t> same;
    for (int64_t r = 0; r < size(); ++r)
      if (std::ranges::all_of(graph_.parents(i),
                              [&](size_t p) { return value_[p].row_equals(r, factual[p]); }))
        same.push_back(r);
    if (!same.empty()) value_[i].assign(same, factual[i].select(same));
  }

  void keep_where(size_t i, double wanted) {
    require(graph_[i].is_discrete(),
            "{} is given in the world of do(): of a node that is {} almost no sample has it; give "
            "what was observed instead",
            shown(i, wanted), name_of(graph_[i].kind));
    for (size_t r = 0; r < log_weight.size(); ++r)
      if (value_[i].numbers[r] != wanted) log_weight[r] = -std::numeric_limits<double>::infinity();
  }

  const StructuralCausalModel& model_;
  const Graph& graph_;
  const Question& question_;
  const Plan& plan_;
  Rows rows_;
  NodeValues value_, noise_;

 public:
  std::vector<double> log_weight;
};

}  // namespace

double WeightedSamples::effective() const {
  double sum = 0, squares = 0;
  for (const double w : weights) {
    sum += w;
    squares += w * w;
  }
  return sum * sum / squares;
}

WeightedSamples draw_samples(const StructuralCausalModel& model, const Question& question,
                             const SampleOptions& options) {
  const Plan plan(model, question);
  const int64_t count = plan.deterministic ? 1 : options.samples;
  WeightedSamples result;
  result.deterministic = plan.deterministic;
  result.of.resize(question.of.size());
  for (int64_t begin = 0; begin < count; begin += kBatch) {
    Rows rows{options.seed, {}};
    for (int64_t r = begin; r < std::min(begin + kBatch, count); ++r) rows.index.push_back(r);
    const Batch batch(model, question, plan, std::move(rows));
    for (size_t k = 0; k < question.of.size(); ++k) {
      const Values& values = batch.value(question.of[k]);
      require(!values.is_image(), "node {} is an image: ask about its attributes",
              io::show(model.graph()[question.of[k]].name()));
      result.of[k].numbers.insert(result.of[k].numbers.end(), values.numbers.begin(),
                                  values.numbers.end());
    }
    result.weights.insert(result.weights.end(), batch.log_weight.begin(), batch.log_weight.end());
    if (options.progress)
      options.progress(static_cast<double>(std::min(begin + kBatch, count)),
                       static_cast<double>(count));
  }
  const auto [least, most] = std::ranges::minmax(result.weights);
  require(most > -std::numeric_limits<double>::infinity(),
          "none of {} samples agrees with the evidence: its probability is 0, or close to it",
          count);
  result.weighted = least != most;
  for (double& w : result.weights) w = std::exp(w - most);
  return result;
}

}  // namespace diffscm::causal
