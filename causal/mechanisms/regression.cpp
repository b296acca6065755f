#include "causal/mechanisms/regression.h"

#include <cmath>

#include "kernels/error.h"

namespace diffscm::causal {

void require_continuous(const Role& role) {
  require(role.node.kind == NodeKind::continuous, "the node is {}: it must be continuous",
          causal::name_of(role.node.kind));
}

RegressionMechanism::RegressionMechanism(const Role& role, int64_t outputs,
                                         NetworkSettings settings)
    : attribute_(role.node.attribute),
      network_(role.parents, /*own=*/0, outputs, std::move(settings)) {
  require_continuous(role);
}

template <class F>
std::vector<double> RegressionMechanism::per_row(const Values& values, Parents parents,
                                                 F&& f) const {
  const std::vector<float> outputs = network_(parents, values.rows());
  const auto width = static_cast<size_t>(network_.outputs());
  std::vector<double> result;
  for (size_t row = 0; row < values.numbers.size(); ++row)
    result.push_back(
        f(values.numbers[row], std::span<const float>(outputs).subspan(row * width, width)));
  return result;
}

Values RegressionMechanism::abduct(const Values& value, Parents parents, const RowRandom&) const {
  return Values(per_row(value, parents, [this](double x, std::span<const float> outputs) {
    return to_noise(standard_.to(x), outputs);
  }));
}

Values RegressionMechanism::predict(const Values& noise, Parents parents) const {
  return Values(per_row(noise, parents, [this](double u, std::span<const float> outputs) {
    return nearest_within(attribute_, standard_.from(to_value(u, outputs)));
  }));
}

Values RegressionMechanism::draw_noise(const RowRandom& random) const {
  std::vector<double> noise;
  for (int64_t i = 0; i < random.size(); ++i) noise.push_back(random.stream(i).normal());
  return Values(std::move(noise));
}

std::vector<double> RegressionMechanism::log_density(const Values& value, Parents parents) const {
  return per_row(value, parents, [this](double x, std::span<const float> outputs) {
    return -negative_log_density(standard_.to(x), outputs) - std::log(standard_.deviation);
  });
}

void RegressionMechanism::fit(const Values& value, Parents parents, const FitOptions& options) {
  standard_ = Standard::of(value.numbers);
  std::vector<double> z;
  for (const double x : value.numbers) z.push_back(standard_.to(x));
  const auto width = static_cast<size_t>(network_.outputs());
  network_.fit(
      parents, value.rows(), {},
      [&](std::span<const int64_t> rows, int64_t, std::span<const float> outputs,
          std::span<float> gradient) {
        double sum = 0;
        for (size_t i = 0; i < rows.size(); ++i)
          sum += loss(z[static_cast<size_t>(rows[i])], outputs.subspan(i * width, width),
                      gradient.empty() ? gradient : gradient.subspan(i * width, width));
        return sum;
      },
      options, "loss");
  fit_noise(per_row(Values(z), parents, [this](double at, std::span<const float> outputs) {
    return to_noise(at, outputs);
  }));
}

MechanismState RegressionMechanism::state() const {
  MechanismState state;
  network_.save(state, "network");
  state.values["standard"] = standard_;
  return state;
}

void RegressionMechanism::load(const MechanismState& given) {
  MechanismState state = given;
  network_.load(state, "network");
  require(state.values.contains("standard"), "the entry standard is missing");
  state.values["standard"].get_to(standard_);
  state.values.erase("standard");
  require_empty(state);
}

}  // namespace diffscm::causal
