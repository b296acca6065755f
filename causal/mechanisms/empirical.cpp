// A root whose values are drawn from the data, with replacement.
#include "causal/mechanisms/empirical.h"

#include <algorithm>
#include <cmath>

#include "causal/mechanisms/exact_numbers.h"
#include "causal/mechanisms/parent_network.h"

namespace diffscm::causal {
namespace {

class Empirical : public Mechanism {
 public:
  explicit Empirical(const Role& role) : states_(role.node.attribute.states.size()) {
    require(role.node.kind != NodeKind::image, "the node is an image");
    require(role.parents.empty(), "the node has parents: it must be a root");
    Parameters(role.node.mechanism.parameters).finish();
  }

  Abduction abduction() const override { return Abduction::exact; }
  // The noise of a root is its value.
  Values abduct(const Values& value, Parents, const RowRandom&) const override { return value; }
  Values predict(const Values& noise, Parents) const override { return noise; }
  Values draw_noise(const RowRandom& random) const override {
    require(is_fitted(), "the mechanism is not fitted: run diffscm scm fit");
    const auto n = values_.size();
    std::vector<double> drawn;
    for (int64_t i = 0; i < random.size(); ++i)
      drawn.push_back(values_[std::min(
          n - 1, static_cast<size_t>(random.stream(i).uniform() * static_cast<double>(n)))]);
    return Values(std::move(drawn));
  }

  // Of a discrete root: how often the data have the state.
  bool has_log_density() const override { return states_ > 0; }
  std::vector<double> log_density(const Values& value, Parents) const override {
    if (!has_log_density()) return Mechanism::log_density(value, {});
    std::vector<double> share(states_, 0.0), log_p;
    for (const double v : values_)
      share[static_cast<size_t>(v)] += 1 / static_cast<double>(values_.size());
    for (const double v : value.numbers) log_p.push_back(std::log(share[static_cast<size_t>(v)]));
    return log_p;
  }

  void fit(const Values& value, Parents, const FitOptions&) override { values_ = value.numbers; }
  bool is_fitted() const override { return !values_.empty(); }
  MechanismState state() const override {
    MechanismState state;
    state.tensors["values"] = exact_tensor(values_);
    return state;
  }
  void load(const MechanismState& given) override {
    MechanismState state = given;
    const auto found = state.tensors.find("values");
    require(found != state.tensors.end(), "the tensor values is missing");
    std::vector<double> values = exact_numbers(found->second);
    require(!values.empty(), "there are no values");
    for (const double v : values)
      require(std::isfinite(v) && (states_ == 0 || (v >= 0 && v < static_cast<double>(states_) &&
                                                    v == std::floor(v))),
              "the value {} is not one of the node's", v);
    state.tensors.erase(found);
    require_empty(state);
    values_ = std::move(values);
  }
  std::string description() const override { return "empirical"; }

 private:
  size_t states_;
  std::vector<double> values_;
};

}  // namespace

std::unique_ptr<Mechanism> make_empirical(const Role& role) {
  return std::make_unique<Empirical>(role);
}

}  // namespace diffscm::causal
