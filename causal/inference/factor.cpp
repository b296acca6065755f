#include "causal/inference/factor.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "kernels/error.h"

namespace diffscm::causal {
namespace {

constexpr size_t kMaxEntries = size_t{1} << 26;

size_t entries(std::span<const size_t> variables, const States& states) {
  size_t product = 1;
  for (const size_t v : variables) {
    product *= states[v];
    if (product > kMaxEntries)
      throw TooLarge(fmt::format(
          "the exact answer needs a table of more than {} entries: ask for samples", kMaxEntries));
  }
  return product;
}

// How far apart in `factor` the states of each of `variables` are; 0 for those it does not have.
std::vector<size_t> strides(const Factor& factor, std::span<const size_t> variables,
                            const States& states) {
  std::vector<size_t> result(variables.size());
  size_t stride = 1;
  for (size_t i = factor.variables.size(); i-- > 0;) {
    const auto found = std::ranges::find(variables, factor.variables[i]);
    if (found != variables.end()) result[static_cast<size_t>(found - variables.begin())] = stride;
    stride *= states[factor.variables[i]];
  }
  return result;
}

// The product of the factors, summed over the last of `variables` when `sum_last`.
Factor multiply(std::span<const Factor* const> factors, std::vector<size_t> variables,
                const States& states, bool sum_last) {
  Factor result;
  const size_t inner = sum_last ? states[variables.back()] : 1;
  result.variables.assign(variables.begin(), variables.end() - (sum_last ? 1 : 0));
  result.values.resize(entries(result.variables, states));
  std::vector<std::vector<size_t>> steps;
  for (const Factor* factor : factors) steps.push_back(strides(*factor, variables, states));
  std::vector<size_t> state(result.variables.size()), at(factors.size());
  for (double& value : result.values) {
    double sum = 0;
    for (size_t k = 0; k < inner; ++k) {
      double product = 1;
      for (size_t f = 0; f < factors.size(); ++f)
        product *= factors[f]->values[at[f] + (sum_last ? k * steps[f].back() : 0)];
      sum += product;
    }
    value = sum;
    for (size_t i = state.size(); i-- > 0;) {
      ++state[i];
      for (size_t f = 0; f < factors.size(); ++f) at[f] += steps[f][i];
      if (state[i] < states[result.variables[i]]) break;
      for (size_t f = 0; f < factors.size(); ++f) at[f] -= steps[f][i] * state[i];
      state[i] = 0;
    }
  }
  return result;
}

// Who stands in one factor with whom.
class Neighbours {
 public:
  Neighbours(std::span<const Factor> factors, size_t variables) : near_(variables) {
    for (const Factor& factor : factors)
      for (const size_t a : factor.variables)
        for (const size_t b : factor.variables)
          if (a != b) near_[a].insert(b);
  }

  // Edges that eliminating v would add.
  size_t fill(size_t v) const {
    size_t missing = 0;
    for (auto a = near_[v].begin(); a != near_[v].end(); ++a)
      for (auto b = std::next(a); b != near_[v].end(); ++b) missing += !near_[*a].contains(*b);
    return missing;
  }
  double table(size_t v, const States& states) const {
    double product = static_cast<double>(states[v]);
    for (const size_t u : near_[v]) product *= static_cast<double>(states[u]);
    return product;
  }
  // Returns those whose fill may have changed.
  std::set<size_t> eliminate(size_t v) {
    const std::set<size_t> around = std::move(near_[v]);
    std::set<size_t> changed = around;
    for (const size_t a : around) {
      near_[a].erase(v);
      for (const size_t b : around)
        if (a != b) near_[a].insert(b);
    }
    for (const size_t a : around) changed.insert(near_[a].begin(), near_[a].end());
    return changed;
  }

 private:
  std::vector<std::set<size_t>> near_;
};

std::vector<size_t> union_of(std::span<const Factor* const> factors) {
  std::vector<size_t> variables;
  for (const Factor* factor : factors)
    for (const size_t v : factor->variables)
      if (std::ranges::find(variables, v) == variables.end()) variables.push_back(v);
  return variables;
}

// Divides by the largest value, whose logarithm is returned.
double rescale(Factor& factor) {
  const double largest = *std::ranges::max_element(factor.values);
  if (largest == 0) return 0;
  for (double& value : factor.values) value /= largest;
  return std::log(largest);
}

}  // namespace

Factor make_factor(std::span<const size_t> slots, const States& states, const Evidence& evidence,
                   const std::function<double(std::span<const size_t>)>& f) {
  Factor factor;
  for (const size_t v : slots)
    if (!evidence.contains(v) && std::ranges::find(factor.variables, v) == factor.variables.end())
      factor.variables.push_back(v);
  factor.values.resize(entries(factor.variables, states));
  std::vector<size_t> state(factor.variables.size()), slot(slots.size());
  for (double& value : factor.values) {
    for (size_t s = 0; s < slots.size(); ++s) {
      const auto known = evidence.find(slots[s]);
      slot[s] = known != evidence.end()
                    ? known->second
                    : state[static_cast<size_t>(std::ranges::find(factor.variables, slots[s]) -
                                                factor.variables.begin())];
    }
    value = f(slot);
    for (size_t i = state.size(); i-- > 0;) {
      if (++state[i] < states[factor.variables[i]]) break;
      state[i] = 0;
    }
  }
  return factor;
}

Sum eliminate(std::vector<Factor> factors, const States& states, std::span<const size_t> keep) {
  Sum sum;
  Neighbours neighbours(factors, states.size());
  std::set<size_t> left;
  for (const Factor& factor : factors)
    left.insert(factor.variables.begin(), factor.variables.end());
  for (const size_t v : keep) left.erase(v);
  std::vector<std::pair<size_t, double>> cost(states.size());
  for (const size_t v : left) cost[v] = {neighbours.fill(v), neighbours.table(v, states)};
  while (!left.empty()) {
    const size_t v = *std::ranges::min_element(left, {}, [&](size_t u) { return cost[u]; });
    left.erase(v);
    const auto with = std::stable_partition(factors.begin(), factors.end(), [&](const Factor& f) {
      return std::ranges::find(f.variables, v) == f.variables.end();
    });
    std::vector<const Factor*> product;
    for (auto f = with; f != factors.end(); ++f) product.push_back(&*f);
    std::vector<size_t> variables = union_of(product);
    std::erase(variables, v);
    variables.push_back(v);
    Factor rest = multiply(product, std::move(variables), states, /*sum_last=*/true);
    sum.log_scale += rescale(rest);
    factors.erase(with, factors.end());
    factors.push_back(std::move(rest));
    for (const size_t u : neighbours.eliminate(v))
      if (left.contains(u)) cost[u] = {neighbours.fill(u), neighbours.table(u, states)};
  }
  std::vector<const Factor*> product;
  for (const Factor& factor : factors) product.push_back(&factor);
  sum.values = multiply(product, {keep.begin(), keep.end()}, states, /*sum_last=*/false).values;
  return sum;
}

}  // namespace diffscm::causal
