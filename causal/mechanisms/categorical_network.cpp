#include "causal/mechanisms/categorical_network.h"

#include <algorithm>
#include <cmath>

#include "causal/mechanisms/table.h"
#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::causal {
namespace {

constexpr double kLeast = 1e-12;  // a state that was observed must have a noise that makes it

std::vector<double> softmax(std::span<const float> logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  std::vector<double> p;
  double total = 0;
  for (const float l : logits) total += p.emplace_back(std::exp(l - top));
  double kept = 0;
  for (double& x : p) kept += x = std::max(x / total, kLeast);
  for (double& x : p) x /= kept;
  return p;
}

}  // namespace

double cross_entropy(size_t state, std::span<const float> logits, std::span<float> gradient) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (const float l : logits) total += std::exp(l - top);
  for (size_t k = 0; k < gradient.size(); ++k)
    gradient[k] = static_cast<float>(std::exp(logits[k] - top) / total - (k == state ? 1 : 0));
  return std::log(total) + top - logits[state];
}

CategoricalNetwork::CategoricalNetwork(const Role& role)
    : CategoricalNetwork(role, Parameters(role.node.mechanism.parameters)) {}

CategoricalNetwork::CategoricalNetwork(const Role& role, Parameters parameters)
    : states_(role.node.attribute.states.size()),
      gumbel_(parameters.choice("counterfactual", {"gumbel-max", "inverse-cdf"}) == "gumbel-max"),
      network_(role.parents, /*own=*/0, static_cast<int64_t>(states_),
               network_settings(parameters)) {
  require(role.node.is_discrete(), "the node is {}: it must be binary or categorical",
          causal::name_of(role.node.kind));
  parameters.finish();
}

std::vector<double> CategoricalNetwork::probabilities(Parents parents, int64_t rows) const {
  const std::vector<float> logits = network_(parents, rows);
  std::vector<double> all;
  for (size_t row = 0; row < static_cast<size_t>(rows); ++row) {
    const auto p = softmax(std::span<const float>(logits).subspan(row * states_, states_));
    all.insert(all.end(), p.begin(), p.end());
  }
  return all;
}

Values CategoricalNetwork::abduct(const Values& value, Parents parents,
                                  const RowRandom& random) const {
  const std::vector<double> p = probabilities(parents, value.rows());
  const size_t width = gumbel_ ? states_ : 1;
  std::vector<double> noise(value.numbers.size() * width);
  for (size_t row = 0; row < value.numbers.size(); ++row) {
    RandomStream stream = random.stream(static_cast<int64_t>(row));
    const auto here = std::span<const double>(p).subspan(row * states_, states_);
    const auto state = static_cast<size_t>(value.numbers[row]);
    if (gumbel_)
      gumbel_posterior(here, state, stream, std::span(noise).subspan(row * width, width));
    else
      noise[row] = inverse_cdf_posterior(here, state, stream);
  }
  return Values(std::move(noise), static_cast<int64_t>(width));
}

Values CategoricalNetwork::predict(const Values& noise, Parents parents) const {
  const std::vector<double> p = probabilities(parents, noise.rows());
  std::vector<double> state;
  for (size_t row = 0; row < static_cast<size_t>(noise.rows()); ++row) {
    const auto here = std::span<const double>(p).subspan(row * states_, states_);
    state.push_back(static_cast<double>(
        gumbel_ ? gumbel_max(here, std::span(noise.numbers).subspan(row * states_, states_))
                : inverse_cdf(here, noise.numbers[row])));
  }
  return Values(std::move(state));
}

Values CategoricalNetwork::draw_noise(const RowRandom& random) const {
  std::vector<double> noise;
  for (int64_t i = 0; i < random.size(); ++i) {
    RandomStream stream = random.stream(i);
    if (!gumbel_) noise.push_back(stream.uniform());
    for (size_t k = 0; gumbel_ && k < states_; ++k) noise.push_back(stream.gumbel());
  }
  return Values(std::move(noise), gumbel_ ? static_cast<int64_t>(states_) : 1);
}

std::vector<double> CategoricalNetwork::log_density(const Values& value, Parents parents) const {
  const std::vector<double> p = probabilities(parents, value.rows());
  std::vector<double> log_p;
  for (size_t row = 0; row < value.numbers.size(); ++row)
    log_p.push_back(std::log(p[row * states_ + static_cast<size_t>(value.numbers[row])]));
  return log_p;
}

void CategoricalNetwork::fit(const Values& value, Parents parents, const FitOptions& options) {
  network_.fit(
      parents, value.rows(), {},
      [&](std::span<const int64_t> rows, int64_t, std::span<const float> logits,
          std::span<float> gradient) {
        double sum = 0;
        for (size_t i = 0; i < rows.size(); ++i)
          sum +=
              cross_entropy(static_cast<size_t>(value.numbers[static_cast<size_t>(rows[i])]),
                            logits.subspan(i * states_, states_),
                            gradient.empty() ? gradient : gradient.subspan(i * states_, states_));
        return sum;
      },
      options, "cross-entropy");
}

MechanismState CategoricalNetwork::state() const {
  MechanismState state;
  network_.save(state, "network");
  return state;
}

void CategoricalNetwork::load(const MechanismState& given) {
  MechanismState state = given;
  network_.load(state, "network");
  require_empty(state);
}

std::string CategoricalNetwork::description() const {
  return gumbel_ ? "categorical network, counterfactuals by Gumbel-max"
                 : "categorical network, counterfactuals by inverse CDF";
}

std::unique_ptr<Mechanism> make_categorical_network(const Role& role) {
  return std::make_unique<CategoricalNetwork>(role);
}

}  // namespace diffscm::causal
