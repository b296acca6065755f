#include "evaluation/scm/scm_evaluation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "causal/mechanisms/features.h"
#include "engine/io/file.h"
#include "evaluation/scm/nodes_to_set.h"
#include "evaluation/scm/samples.h"

namespace diffscm {
namespace {

using causal::Graph;
using causal::Intervention;
using causal::Node;
using causal::NodeValues;
using causal::Rows;
using causal::StructuralCausalModel;
using causal::Values;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

std::vector<int64_t> first(int64_t count) {
  std::vector<int64_t> rows(static_cast<size_t>(count));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

// Numbers as they are, states one-hot.
SampleRows columns(const Graph& graph, const NodeValues& values, std::span<const size_t> nodes) {
  SampleRows rows{{}, 0};
  for (const size_t i : nodes) rows.width += std::max<size_t>(1, graph[i].attribute.states.size());
  const auto count = static_cast<size_t>(values.at(nodes[0]).rows());
  for (size_t row = 0; row < count; ++row)
    for (const size_t i : nodes) {
      const double value = values[i].numbers[row];
      if (!graph[i].is_discrete()) rows.numbers.push_back(value);
      for (size_t k = 0; k < graph[i].attribute.states.size(); ++k)
        rows.numbers.push_back(value == static_cast<double>(k));
    }
  return rows;
}

SampleRows slice(const SampleRows& rows, size_t begin, size_t count) {
  const auto at = rows.numbers.begin() + static_cast<ptrdiff_t>(begin * rows.width);
  return {{at, at + static_cast<ptrdiff_t>(count * rows.width)}, rows.width};
}

double mean(const std::vector<double>& values) {
  return values.empty() ? kNone
                        : std::accumulate(values.begin(), values.end(), 0.0) /
                              static_cast<double>(values.size());
}

// What do() sets a node to: its states, or numbers evenly from the 10% to the 90% quantile.
std::vector<double> values_to_set(const Node& node, std::vector<double> natural, int count) {
  std::vector<double> values;
  if (node.is_discrete()) {
    for (size_t k = 0; k < node.attribute.states.size(); ++k)
      values.push_back(static_cast<double>(k));
    return values;
  }
  std::sort(natural.begin(), natural.end());
  const double low = causal::quantile(natural, 0.1), high = causal::quantile(natural, 0.9);
  for (int i = 0; i < count; ++i)
    values.push_back(count == 1 ? low : low + (high - low) * i / (count - 1));
  return values;
}

class Evaluation {
 public:
  Evaluation(const StructuralCausalModel& model, const StructuralCausalModel* truth,
             const NodeValues& data, const ScmEvaluationOptions& options)
      : model_(model),
        graph_(model.graph()),
        truth_(truth),
        data_(data),
        options_(options),
        set_(nodes_to_set(graph_, options.interventions)) {
    for (size_t i = 0; i < graph_.size(); ++i)
      if (!graph_.parents(i).empty()) inner_.push_back(i);
    require(!inner_.empty(), "the graph has no edge: there is nothing causal to judge");
    for (size_t i = 0; i < graph_.size(); ++i) {
      require(graph_[i].kind != causal::NodeKind::image, "node {} is an image",
              io::show(graph_[i].name()));
      require(data_.at(i).rows() >= 10, "node {} has {} rows of data: give 10 or more",
              io::show(graph_[i].name()), data_.at(i).rows());
    }
  }

  ScmEvaluation run() {
    ScmEvaluation result;
    result.with_truth = truth_ != nullptr;
    const int total = static_cast<int>(1 + graph_.size() + (truth_ ? set_.size() : 0));
    int done = 0;
    const auto finished = [&] {
      ++done;
      if (options_.progress) options_.progress(done, total);
    };
    result.observational = observational();
    finished();
    if (truth_) {
      check_same_nodes();
      for (const size_t node : set_) {
        result.interventions.push_back(intervention(node));
        finished();
      }
    }
    for (size_t i = 0; i < graph_.size(); ++i) {
      result.nodes.push_back(node_score(i));
      finished();
    }
    return result;
  }

 private:
  // Draws for one use share no number with those for another, nor with what `scm sample` drew at a
  // small seed to fit on.
  Rows rows(uint64_t use, int64_t count) const {
    return causal::first_rows((options_.seed + 1) * 0x9E3779B97F4A7C15u + use, count);
  }

  void check_same_nodes() const {
    require(truth_->graph().size() == graph_.size(), "the truth has {} nodes, the model {}",
            truth_->graph().size(), graph_.size());
    for (size_t i = 0; i < graph_.size(); ++i)
      require(truth_->graph()[i].name() == graph_[i].name() &&
                  truth_->graph()[i].attribute.states == graph_[i].attribute.states,
              "the truth has {} where the model has {}", io::show(truth_->graph()[i].name()),
              io::show(graph_[i].name()));
  }

  Discrepancy observational() const {
    const int64_t n = options_.observational_rows;
    if (truth_) {
      const SampleRows real = columns(graph_, truth_->sample(rows(1, n)).value, inner_);
      return {mmd_squared(columns(graph_, model_.sample(rows(2, n)).value, inner_), real),
              mmd_squared(columns(graph_, truth_->sample(rows(3, n)).value, inner_), real)};
    }
    const int64_t half = std::min(n, data_[0].rows() / 2);
    const SampleRows all = columns(graph_, data_, inner_);
    const SampleRows real = slice(all, 0, static_cast<size_t>(half)),
                     other = slice(all, static_cast<size_t>(half), static_cast<size_t>(half));
    return {mmd_squared(columns(graph_, model_.sample(rows(2, half)).value, inner_), real),
            mmd_squared(other, real)};
  }

  InterventionScore intervention(size_t node) const {
    const std::vector<size_t> of{node};
    std::vector<size_t> below = graph_.descendants(of);
    std::sort(below.begin(), below.end(),
              [&](size_t a, size_t b) { return graph_[a].name() < graph_[b].name(); });
    InterventionScore score;
    score.node = graph_[node].name();
    for (const size_t i : below) score.descendants.push_back(graph_[i].name());
    score.values = values_to_set(graph_[node], truth_->sample(rows(4, 5000)).value[node].numbers,
                                 options_.values);

    // All values in one batch: `each` rows per value.
    const auto setting_of = [&](int64_t each) {
      std::vector<double> set;
      for (const double v : score.values) set.insert(set.end(), static_cast<size_t>(each), v);
      return Intervention{{node, {[set](const Values&) { return Values(set); }, "values"}}};
    };
    const int64_t count = std::ssize(score.values), n = options_.interventional_rows;
    const auto sampled = [&](const StructuralCausalModel& scm, uint64_t use) {
      return columns(graph_, scm.sample(rows(use, count * n), setting_of(n)).value, below);
    };
    const SampleRows ours = sampled(model_, 5), real = sampled(*truth_, 6),
                     again = sampled(*truth_, 7);
    for (int64_t v = 0; v < count; ++v) {
      const auto part = [&](const SampleRows& all) {
        return slice(all, static_cast<size_t>(v * n), static_cast<size_t>(n));
      };
      score.mmd.model += mmd_squared(part(ours), part(real)) / static_cast<double>(count);
      score.mmd.floor += mmd_squared(part(again), part(real)) / static_cast<double>(count);
    }

    // The same factual rows, and their true noise, for each value.
    const int64_t m = options_.counterfactual_rows;
    std::vector<int64_t> repeated;
    for (int64_t i = 0; i < count * m; ++i) repeated.push_back(i % m);
    const NodeValues noise = truth_->draw_noise(rows(8, m));
    const NodeValues factual = causal::select_rows(truth_->predict(noise, {}).value, repeated);
    const NodeValues truth =
        truth_->predict(causal::select_rows(noise, repeated), setting_of(m)).value;
    for (const size_t i : below)
      score.counterfactual &= model_.mechanism(i).abduction() != causal::Abduction::impossible;
    if (!score.counterfactual) {
      score.cf_mse = score.cf_mse_first = kNone;
      return score;
    }
    const NodeValues ours_cf =
        model_.counterfactual(factual, setting_of(m), rows(9, count * m)).counterfactual;
    for (const size_t i : below) {
      double sum = 0;
      for (size_t row = 0; row < truth[i].numbers.size(); ++row) {
        const double error = ours_cf[i].numbers[row] - truth[i].numbers[row];
        sum += graph_[i].is_discrete() ? (error != 0) : error * error;
      }
      score.cf_mse_of.push_back(sum / static_cast<double>(count * m));
    }
    score.cf_mse = mean(score.cf_mse_of);
    score.cf_mse_first = score.cf_mse_of.front();
    return score;
  }

  NodeScore node_score(size_t i) const {
    const causal::Mechanism& mechanism = model_.mechanism(i);
    NodeScore score;
    score.node = graph_[i].name();
    score.mechanism = mechanism.description();
    const auto judged = first(std::min(options_.judged_rows, data_[i].rows()));
    const NodeValues values = causal::select_rows(data_, judged);
    const auto parents = model_.parent_values(i, values);
    score.log_density =
        mechanism.has_log_density() ? mean(mechanism.log_density(values[i], parents)) : kNone;
    score.crps = score.crps_marginal = score.accuracy = score.calibration_error = kNone;
    if (graph_[i].is_discrete())
      judge_states(i, values[i], parents, score);
    else
      judge_numbers(i, score);
    score.independence_p = independence(i);
    return score;
  }

  // The probabilities of all states are the densities of all states.
  void judge_states(size_t i, const Values& value, causal::Parents parents,
                    NodeScore& score) const {
    const causal::Mechanism& mechanism = model_.mechanism(i);
    if (!mechanism.has_log_density()) return;
    const size_t states = graph_[i].attribute.states.size();
    SampleRows p{std::vector<double>(value.numbers.size() * states), states};
    for (size_t k = 0; k < states; ++k) {
      const std::vector<double> log_p = mechanism.log_density(
          Values(std::vector<double>(value.numbers.size(), static_cast<double>(k))), parents);
      for (size_t row = 0; row < log_p.size(); ++row)
        p.numbers[row * states + k] = std::exp(log_p[row]);
    }
    double hits = 0;
    for (size_t row = 0; row < p.rows(); ++row) {
      const auto here = p.row(row);
      hits += static_cast<double>(std::max_element(here.begin(), here.end()) - here.begin()) ==
              value.numbers[row];
    }
    score.accuracy = hits / static_cast<double>(p.rows());
    score.calibration_error = expected_calibration_error(p, value.numbers);
  }

  void judge_numbers(size_t i, NodeScore& score) const {
    const int64_t count = std::min(options_.crps_rows, data_[i].rows()),
                  draws = options_.crps_draws;
    std::vector<int64_t> repeated;
    for (int64_t k = 0; k < count * draws; ++k) repeated.push_back(k / draws);
    const NodeValues values = causal::select_rows(data_, repeated);
    const Rows numbered = rows(10, count * draws);
    const causal::Mechanism& mechanism = model_.mechanism(i);
    const Values drawn = mechanism.predict(
        mechanism.draw_noise(model_.random(i, kernels::Purpose::exogenous, numbered)),
        model_.parent_values(i, values));
    // Draws of the marginal are other rows of the data.
    std::vector<double> conditional, marginal;
    for (int64_t row = 0; row < count; ++row) {
      const double y = data_[i].numbers[static_cast<size_t>(row)];
      conditional.push_back(
          crps(std::span(drawn.numbers)
                   .subspan(static_cast<size_t>(row * draws), static_cast<size_t>(draws)),
               y));
      std::vector<double> others;
      for (int64_t k = 1; k <= std::min(draws, data_[i].rows() - 1); ++k)
        others.push_back(data_[i].numbers[static_cast<size_t>((row + k) % data_[i].rows())]);
      marginal.push_back(crps(others, y));
    }
    score.crps = mean(conditional);
    score.crps_marginal = mean(marginal);
  }

  double independence(size_t i) const {
    const causal::Mechanism& mechanism = model_.mechanism(i);
    if (graph_.parents(i).empty() || mechanism.abduction() == causal::Abduction::impossible)
      return kNone;
    const int64_t count = std::min(options_.independence_rows, data_[i].rows());
    const NodeValues values = causal::select_rows(data_, first(count));
    const Rows numbered = rows(11, count);
    const Values noise = mechanism.abduct(values[i], model_.parent_values(i, values),
                                          model_.random(i, kernels::Purpose::abduction, numbered));
    return independence_test(columns(graph_, values, graph_.parents(i)),
                             {noise.numbers, static_cast<size_t>(noise.width)},
                             options_.permutations, options_.seed)
        .p_value;
  }

  const StructuralCausalModel& model_;
  const Graph& graph_;
  const StructuralCausalModel* truth_;
  const NodeValues& data_;
  const ScmEvaluationOptions& options_;
  std::vector<size_t> inner_, set_;  // nodes with parents; nodes that do() sets
};

template <class F>
double mean_over(const std::vector<InterventionScore>& scores, F&& f) {
  std::vector<double> values;
  for (const InterventionScore& s : scores) values.push_back(f(s));
  return mean(values);
}

nlohmann::ordered_json to_json(const Discrepancy& d) {
  return {{"model", d.model}, {"floor", d.floor}};
}

nlohmann::ordered_json number(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json();
}

}  // namespace

Discrepancy ScmEvaluation::interventional() const {
  return {mean_over(interventions, [](const auto& s) { return s.mmd.model; }),
          mean_over(interventions, [](const auto& s) { return s.mmd.floor; })};
}

double ScmEvaluation::cf_mse() const {
  return mean_over(interventions, [](const auto& s) { return s.cf_mse; });
}

double ScmEvaluation::cf_mse_first() const {
  return mean_over(interventions, [](const auto& s) { return s.cf_mse_first; });
}

ScmEvaluation evaluate_scm(const StructuralCausalModel& model, const StructuralCausalModel* truth,
                           const NodeValues& data, const ScmEvaluationOptions& options) {
  return Evaluation(model, truth, data, options).run();
}

nlohmann::ordered_json to_json(const ScmEvaluation& e) {
  nlohmann::ordered_json json = {{"with_truth", e.with_truth},
                                 {"observational_mmd", to_json(e.observational)}};
  if (e.with_truth) {
    json["interventional_mmd"] = to_json(e.interventional());
    json["counterfactual_mse"] = number(e.cf_mse());
    json["counterfactual_mse_first_descendant"] = number(e.cf_mse_first());
    for (const InterventionScore& s : e.interventions) {
      nlohmann::ordered_json mse = nlohmann::ordered_json::object();
      for (size_t i = 0; i < s.cf_mse_of.size(); ++i) mse[s.descendants[i]] = s.cf_mse_of[i];
      json["interventions"].push_back({{"node", s.node},
                                       {"values", s.values},
                                       {"mmd", to_json(s.mmd)},
                                       {"counterfactual_mse", number(s.cf_mse)},
                                       {"counterfactual_mse_by_descendant", mse}});
    }
  }
  for (const NodeScore& s : e.nodes)
    json["nodes"].push_back({{"node", s.node},
                             {"mechanism", s.mechanism},
                             {"log_density_nats", number(s.log_density)},
                             {"crps", number(s.crps)},
                             {"crps_marginal", number(s.crps_marginal)},
                             {"accuracy", number(s.accuracy)},
                             {"calibration_error", number(s.calibration_error)},
                             {"independence_p_value", number(s.independence_p)}});
  return json;
}

}  // namespace diffscm
