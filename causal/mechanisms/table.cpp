#include "causal/mechanisms/table.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "causal/mechanisms/parameters.h"
#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::causal {
namespace {

using nlohmann::json;

constexpr size_t kMaxEntries = size_t{1} << 26;
constexpr double kRounding = 1e-12;

}  // namespace

double normalise(std::span<double> p, const std::string& where, double tolerance) {
  double sum = 0;
  for (const double x : p) {
    require(x >= 0 && x <= 1 + tolerance, "{}: {} is not a probability", where, x);
    sum += x;
  }
  const double off = std::abs(sum - 1);
  require(off <= tolerance, "{}: the probabilities sum to {:.9g}, not to 1", where, sum);
  if (off > kRounding)
    for (double& x : p) x /= sum;
  return off;
}

size_t gumbel_max(std::span<const double> p, std::span<const double> gumbels) {
  size_t best = 0;
  double most = -std::numeric_limits<double>::infinity();
  for (size_t k = 0; k < p.size(); ++k)
    if (const double value = std::log(p[k]) + gumbels[k]; value > most) {
      most = value;
      best = k;
    }
  return best;
}

// The maximum of log p_k + g_k is a standard Gumbel whichever state has it; the others are Gumbels
// cut off there: -log(exp(-max) + exp(-(g + log p))), written so that p = 0 leaves g as it is.
void gumbel_posterior(std::span<const double> p, size_t state, RandomStream& random,
                      std::span<double> gumbels) {
  const double maximum = random.gumbel();
  gumbels[state] = maximum - std::log(p[state]);
  const double top = std::log(p[state]) + gumbels[state];
  for (size_t k = 0; k < p.size(); ++k) {
    if (k == state) continue;
    const double log_p = std::log(p[k]), g = random.gumbel();
    gumbels[k] = -std::log(std::exp(log_p - maximum) + std::exp(-g));
    // Rounding must not make it win.
    for (double step = 0x1p-52; !(log_p + gumbels[k] < top); step *= 2) gumbels[k] -= step;
  }
}

size_t inverse_cdf(std::span<const double> p, double u) {
  double sum = 0;
  size_t last = 0;
  for (size_t k = 0; k < p.size(); ++k) {
    if (p[k] == 0) continue;
    last = k;
    sum += p[k];
    if (sum > u) break;
  }
  return last;
}

double inverse_cdf_posterior(std::span<const double> p, size_t state, RandomStream& random) {
  double below = 0;
  for (size_t k = 0; k < state; ++k) below += p[k];
  const double above = below + p[state];
  const double u = below + random.uniform() * (above - below);
  return std::clamp(u, below, std::nextafter(above, 0.0));
}

TableMechanism::TableMechanism(const Role& role) : role_(role) {
  require(role.node.is_discrete(), "the node is {}: it must be binary or categorical",
          causal::name_of(role.node.kind));
  size_t entries = states();
  for (const Node& parent : role.parents) {
    require(parent.is_discrete(), "its parent {} is {}: all must be binary or categorical",
            io::show(parent.name()), causal::name_of(parent.kind));
    combinations_ *= parent.attribute.states.size();
    entries *= parent.attribute.states.size();
    require(entries <= kMaxEntries, "it has more than {} entries", kMaxEntries);
  }
  Parameters parameters(role.node.mechanism.parameters);
  pseudocount_ = parameters.number("pseudocount", 0, 0, 1e12);
  gumbel_ = parameters.choice("counterfactual", {"gumbel-max", "inverse-cdf"}) == "gumbel-max";
  if (parameters.has("rows")) set_rows(parameters.get<json>("rows"));
  parameters.finish();
}

void TableMechanism::set_rows(const json& rows) {
  const size_t parents = role_.parents.size();
  require(rows.is_array(), "rows must be a list of lists");
  std::vector<double> table(combinations_ * states());
  std::vector<bool> known(combinations_);
  for (size_t r = 0; r < rows.size(); ++r) {
    const json& row = rows[r];
    require(row.is_array() && row.size() == parents + states(),
            "row {} of rows must have {} of the parents' states and {} probabilities", r + 1,
            parents, states());
    size_t at = 0;
    for (size_t p = 0; p < parents; ++p) {
      require(row[p].is_string(), "row {} of rows: {} is not the name of a state of {}", r + 1,
              row[p].dump(), io::show(role_.parents[p].name()));
      const data::Attribute& parent = role_.parents[p].attribute;
      at = at * parent.states.size() +
           static_cast<size_t>(parent.parse(row[p].get_ref<const std::string&>()));
    }
    if (known[at]) fail("rows has {} twice", name_of_row(at));
    known[at] = true;
    for (size_t k = 0; k < states(); ++k) {
      require(row[parents + k].is_number(), "row {} of rows: {} is not a probability", r + 1,
              row[parents + k].dump());
      table[at * states() + k] = row[parents + k].get<double>();
    }
    normalise(std::span(table).subspan(at * states(), states()),
              fmt::format("row {} of rows", r + 1));
  }
  const auto missing = std::ranges::find(known, false);
  if (missing != known.end())
    fail("rows has no {}", name_of_row(static_cast<size_t>(missing - known.begin())));
  probabilities_ = std::move(table);
}

std::string TableMechanism::name_of_combination(size_t combination) const {
  std::string text;
  for (size_t p = role_.parents.size(); p-- > 0;) {
    const data::Attribute& parent = role_.parents[p].attribute;
    text = parent.name + "=" + parent.states[combination % parent.states.size()] +
           (text.empty() ? "" : ", ") + text;
    combination /= parent.states.size();
  }
  return text;
}

std::string TableMechanism::name_of_row(size_t combination) const {
  return role_.parents.empty() ? "p(.)" : "p(. | " + name_of_combination(combination) + ")";
}

std::string TableMechanism::name_of_probability(Parents parents, size_t row, size_t state) const {
  const data::Attribute& node = role_.node.attribute;
  return fmt::format("p({}={}{}{})", node.name, node.states[state], parents.empty() ? "" : " | ",
                     name_of_combination(combination(parents, row)));
}

const std::vector<double>& TableMechanism::probabilities() const {
  require(is_fitted(), "node {} has no probabilities yet: give rows, or fit the graph",
          io::show(role_.node.name()));
  return probabilities_;
}

size_t TableMechanism::combination(Parents parents, size_t row) const {
  size_t at = 0;
  for (size_t p = 0; p < parents.size(); ++p) {
    const double state = parents[p]->numbers[row];
    role_.parents[p].attribute.check(state);
    at = at * role_.parents[p].attribute.states.size() + static_cast<size_t>(state);
  }
  return at;
}

std::span<const double> TableMechanism::conditional(Parents parents, size_t row) const {
  return std::span(probabilities()).subspan(combination(parents, row) * states(), states());
}

Values TableMechanism::abduct(const Values& value, Parents parents, const RowRandom& random) const {
  const size_t width = gumbel_ ? states() : 1;
  std::vector<double> noise(static_cast<size_t>(value.rows()) * width);
  for (size_t row = 0; row < value.numbers.size(); ++row) {
    role_.node.attribute.check(value.numbers[row]);
    const auto p = conditional(parents, row);
    const auto state = static_cast<size_t>(value.numbers[row]);
    RandomStream stream = random.stream(static_cast<int64_t>(row));
    if (p[state] == 0)
      fail("{} = 0: what was observed cannot happen", name_of_probability(parents, row, state));
    if (gumbel_) {
      gumbel_posterior(p, state, stream, std::span(noise).subspan(row * width, width));
      continue;
    }
    noise[row] = inverse_cdf_posterior(p, state, stream);
    if (inverse_cdf(p, noise[row]) != state)
      fail("{} = {:g} is too small for inverse-cdf: use gumbel-max",
           name_of_probability(parents, row, state), p[state]);
  }
  return Values(std::move(noise), static_cast<int64_t>(width));
}

Values TableMechanism::predict(const Values& noise, Parents parents) const {
  std::vector<double> value(static_cast<size_t>(noise.rows()));
  const auto width = static_cast<size_t>(noise.width);
  for (size_t row = 0; row < value.size(); ++row) {
    const auto p = conditional(parents, row);
    const auto u = std::span(noise.numbers).subspan(row * width, width);
    value[row] = static_cast<double>(gumbel_ ? gumbel_max(p, u) : inverse_cdf(p, u[0]));
  }
  return Values(std::move(value));
}

Values TableMechanism::draw_noise(const RowRandom& random) const {
  const size_t width = gumbel_ ? states() : 1;
  std::vector<double> noise(static_cast<size_t>(random.size()) * width);
  for (int64_t row = 0; row < random.size(); ++row) {
    RandomStream stream = random.stream(row);
    for (size_t k = 0; k < width; ++k)
      noise[static_cast<size_t>(row) * width + k] = gumbel_ ? stream.gumbel() : stream.uniform();
  }
  return Values(std::move(noise), static_cast<int64_t>(width));
}

std::vector<double> TableMechanism::log_density(const Values& value, Parents parents) const {
  std::vector<double> logs(value.numbers.size());
  for (size_t row = 0; row < logs.size(); ++row) {
    role_.node.attribute.check(value.numbers[row]);
    logs[row] = std::log(conditional(parents, row)[static_cast<size_t>(value.numbers[row])]);
  }
  return logs;
}

void TableMechanism::fit(const Values& value, Parents parents, const FitOptions&) {
  if (role_.node.mechanism.parameters.contains("rows")) return;  // told, not learned
  std::vector<double> counts(combinations_ * states(), pseudocount_);
  for (size_t row = 0; row < value.numbers.size(); ++row) {
    role_.node.attribute.check(value.numbers[row]);
    counts[combination(parents, row) * states() + static_cast<size_t>(value.numbers[row])] += 1;
  }
  for (size_t c = 0; c < combinations_; ++c) {
    const auto row = std::span(counts).subspan(c * states(), states());
    const double total = std::accumulate(row.begin(), row.end(), 0.0);
    if (total == 0)
      fail("no row has {}: give the table a pseudocount above 0",
           role_.parents.empty() ? "a value" : name_of_combination(c));
    for (double& x : row) x /= total;
  }
  probabilities_ = std::move(counts);
}

MechanismState TableMechanism::state() const {
  return {{}, {{"probabilities", probabilities()}}};
}

void TableMechanism::load(const MechanismState& state) {
  require(state.tensors.empty() && state.values.size() == 1, "a table has probabilities, no more");
  auto table = state.values.at("probabilities").get<std::vector<double>>();
  require(table.size() == combinations_ * states(), "a table of {} probabilities for {} x {}",
          table.size(), combinations_, states());
  for (size_t c = 0; c < combinations_; ++c)
    normalise(std::span(table).subspan(c * states(), states()), fmt::format("row {}", c + 1));
  probabilities_ = std::move(table);
}

std::string TableMechanism::description() const {
  if (states() == 2) return "table";
  return gumbel_ ? "table, counterfactuals by Gumbel-max" : "table, counterfactuals by inverse CDF";
}

std::unique_ptr<Mechanism> make_table(const Role& role) {
  return std::make_unique<TableMechanism>(role);
}

}  // namespace diffscm::causal
