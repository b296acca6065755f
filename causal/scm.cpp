#include "causal/scm.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "causal/node_text.h"
#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::causal {
namespace {

// Throws Error naming the first value that is not one of the node's.
void check_values(const Node& node, const Values& values, auto&& what) {
  if (values.is_image()) return;
  for (size_t row = 0; row < values.numbers.size(); ++row) try {
      node.attribute.check(values.numbers[row]);
    } catch (const Error& e) {
      fail("{}: {}", what(row), e.what());
    }
}

// Throws Error for a row in which the mechanism's arithmetic had no answer.
void check_made(const Node& node, const Values& made) {
  const bool whole =
      std::ranges::all_of(made.numbers, [](double value) { return std::isfinite(value); });
  require(whole, "node {}: its mechanism ({}) makes no finite number here: a value is too large",
          io::show(node.name()), node.mechanism.name);
}

std::vector<int64_t> rows_with_changed_parents(const std::vector<const Values*>& factual,
                                               const std::vector<const Values*>& now,
                                               int64_t rows) {
  std::vector<int64_t> changed;
  for (int64_t row = 0; row < rows; ++row)
    for (size_t p = 0; p < now.size(); ++p)
      if (!factual[p]->row_equals(row, *now[p])) {
        changed.push_back(row);
        break;
      }
  return changed;
}

// Rows `places` of `rows` rows, the others zeros.
Values scattered(const Values& part, std::span<const int64_t> places, int64_t rows) {
  if (part.rows() == rows) return part;
  Values all;
  all.width = part.width;
  if (part.is_image()) {
    Shape shape = part.images.shape();
    shape[0] = rows;
    all.images = Tensor::zeros(shape);
  } else {
    all.numbers.assign(static_cast<size_t>(rows * part.width), 0);
  }
  all.assign(places, part);
  return all;
}

NodeValues select(const std::vector<const Values*>& values, std::span<const int64_t> rows) {
  NodeValues selected;
  for (const Values* v : values) selected.push_back(v->select(rows));
  return selected;
}

std::vector<const Values*> addresses(const NodeValues& values) {
  std::vector<const Values*> all;
  for (const Values& v : values) all.push_back(&v);
  return all;
}

std::vector<std::unique_ptr<Mechanism>> make_mechanisms(const Graph& graph) {
  std::vector<std::unique_ptr<Mechanism>> mechanisms;
  for (size_t i = 0; i < graph.size(); ++i) mechanisms.push_back(make_mechanism(role_of(graph, i)));
  return mechanisms;
}

}  // namespace

NodeValues select_rows(const NodeValues& values, std::span<const int64_t> rows) {
  return select(addresses(values), rows);
}

Setting set_to(const Node& node, double value) {
  require(node.kind != NodeKind::image, "do({}): an image cannot be set to a number", node.name());
  node.attribute.check(value);
  return {[value](const Values& natural) {
            return Values(std::vector<double>(static_cast<size_t>(natural.rows()), value));
          },
          show_value(node, value), false};
}

Rows first_rows(uint64_t seed, int64_t count) {
  Rows rows{seed, std::vector<int64_t>(static_cast<size_t>(count))};
  std::iota(rows.index.begin(), rows.index.end(), int64_t{0});
  return rows;
}

StructuralCausalModel::StructuralCausalModel(Graph graph)
    : graph_(std::move(graph)), mechanisms_(make_mechanisms(graph_)) {}

StructuralCausalModel::StructuralCausalModel(Graph graph,
                                             std::vector<std::unique_ptr<Mechanism>> mechanisms)
    : graph_(std::move(graph)), mechanisms_(std::move(mechanisms)) {
  require(mechanisms_.size() == graph_.size(), "{} mechanisms for {} nodes", mechanisms_.size(),
          graph_.size());
}

std::vector<const Values*> StructuralCausalModel::parent_values(size_t i,
                                                                const NodeValues& values) const {
  std::vector<const Values*> parents;
  for (const size_t p : graph_.parents(i)) parents.push_back(&values[p]);
  return parents;
}

RowRandom StructuralCausalModel::random(size_t i, kernels::Purpose purpose,
                                        const Rows& rows) const {
  return {{.seed = rows.seed, .purpose = purpose, .step = graph_.rank(i)}, rows.index};
}

NodeValues StructuralCausalModel::draw_noise(const Rows& rows) const {
  NodeValues noise;
  for (size_t i = 0; i < graph_.size(); ++i)
    noise.push_back(mechanisms_[i]->draw_noise(random(i, kernels::Purpose::exogenous, rows)));
  return noise;
}

Values StructuralCausalModel::abduct(size_t i, const NodeValues& factual, const Rows& rows) const {
  const Node& node = graph_[i];
  require(factual[i].rows() == std::ssize(rows.index), "node {} has {} values for {} rows",
          io::show(node.name()), factual[i].rows(), rows.index.size());
  for (size_t row = 0; row < factual[i].numbers.size(); ++row)
    if (std::isnan(factual[i].numbers[row]))
      fail("node {} has no value in row {}", io::show(node.name()), rows.index[row]);
  check_values(node, factual[i],
               [&](size_t row) { return fmt::format("a factual value, row {}", rows.index[row]); });
  if (mechanisms_[i]->abduction() == Abduction::impossible) return {};
  return mechanisms_[i]->abduct(factual[i], parent_values(i, factual),
                                random(i, kernels::Purpose::abduction, rows));
}

NodeValues StructuralCausalModel::abduct(const NodeValues& factual, const Rows& rows) const {
  NodeValues noise;
  for (size_t i = 0; i < graph_.size(); ++i) noise.push_back(abduct(i, factual, rows));
  return noise;
}

NodeValues StructuralCausalModel::abduct(const NodeValues& factual, const Rows& rows,
                                         std::span<const Intervention> interventions) const {
  NodeValues noise;
  for (size_t i = 0; i < graph_.size(); ++i) {
    if (graph_[i].kind != NodeKind::image) {
      noise.push_back(abduct(i, factual, rows));
      continue;
    }
    std::set<int64_t> reached;
    for (const Intervention& intervention : interventions) {
      const NodeValues before = predict(noise, intervention, &factual, i).value;
      const auto changed = rows_with_changed_parents(
          parent_values(i, factual), parent_values(i, before), std::ssize(rows.index));
      reached.insert(changed.begin(), changed.end());
    }
    const std::vector<int64_t> places(reached.begin(), reached.end());
    Rows which{rows.seed, {}};
    for (const int64_t place : places)
      which.index.push_back(rows.index[static_cast<size_t>(place)]);
    Values part;
    if (!places.empty()) part = abduct(i, select_rows(factual, places), which);
    if (part.rows() > 0) part = scattered(part, places, std::ssize(rows.index));
    noise.push_back(std::move(part));
  }
  return noise;
}

Prediction StructuralCausalModel::predict(const NodeValues& noise,
                                          const Intervention& intervention) const {
  return predict(noise, intervention, nullptr, graph_.size());
}

// With the factual values, what no changed parent reaches stays as it was, and is not computed.
Prediction StructuralCausalModel::predict(const NodeValues& noise, const Intervention& intervention,
                                          const NodeValues* factual, size_t count) const {
  Prediction prediction;
  for (size_t i = 0; i < count; ++i) {
    const Node& node = graph_[i];
    const auto parents = parent_values(i, prediction.value);
    Values natural;
    if (factual == nullptr) {
      natural = mechanisms_[i]->predict(noise[i], parents);
    } else {
      natural = (*factual)[i].is_image() ? Values((*factual)[i].images.clone()) : (*factual)[i];
      const auto rows =
          rows_with_changed_parents(parent_values(i, *factual), parents, natural.rows());
      require(
          rows.empty() || noise[i].rows() > 0,
          "the counterfactual needs the noise of node {}, which its mechanism ({}) cannot abduct",
          io::show(node.name()), mechanisms_[i]->description());
      if (!rows.empty()) {
        const NodeValues changed = select(parents, rows);
        natural.assign(rows, mechanisms_[i]->counterfactual(
                                 natural.select(rows), noise[i].select(rows), addresses(changed)));
      }
    }
    const auto setting = intervention.find(i);
    if (setting == intervention.end()) check_made(node, natural);
    prediction.value.push_back(setting == intervention.end() ? natural
                                                             : setting->second.set(natural));
    prediction.natural.push_back(std::move(natural));
    if (setting == intervention.end()) continue;
    const Values& set = prediction.value.back();
    require(set.rows() == prediction.natural.back().rows(), "do({}) changed the number of rows",
            node.name());
    check_values(node, set, [&](size_t) {
      return fmt::format("do({}={})", node.name(), setting->second.text);
    });
  }
  return prediction;
}

Prediction StructuralCausalModel::sample(const Rows& rows, const Intervention& intervention) const {
  return predict(draw_noise(rows), intervention);
}

CounterfactualRows StructuralCausalModel::counterfactual(const NodeValues& factual,
                                                         const Intervention& intervention,
                                                         const Rows& rows) const {
  CounterfactualRows result{.factual = factual, .noise = abduct(factual, rows)};
  Prediction prediction = counterfactual(factual, result.noise, intervention);
  result.natural = std::move(prediction.natural);
  result.counterfactual = std::move(prediction.value);
  return result;
}

std::vector<double> StructuralCausalModel::log_density(const NodeValues& values) const {
  std::vector<double> total(static_cast<size_t>(values.at(0).rows()));
  for (size_t i = 0; i < graph_.size(); ++i) {
    require(mechanisms_[i]->has_log_density(), "node {} has no density: its mechanism is {}",
            io::show(graph_[i].name()), mechanisms_[i]->description());
    const auto logs = mechanisms_[i]->log_density(values[i], parent_values(i, values));
    for (size_t row = 0; row < total.size(); ++row) total[row] += logs[row];
  }
  return total;
}

}  // namespace diffscm::causal
