#include "causal/mechanisms/equation.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "causal/mechanisms/features.h"
#include "causal/mechanisms/parameters.h"
#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::causal {
namespace {

constexpr int kGrid = 33, kTries = 200, kMostDraws = 1'000'000;

Expression expression_of(const Role& role, const std::string& text,
                         const std::vector<std::string>& noises) {
  std::vector<std::string> names = role.node.parents;
  for (const std::string& noise : noises) {
    require(std::ranges::find(names, noise) == names.end(), "{} is both a parent and a noise",
            io::show(noise));
    names.push_back(noise);
  }
  return {text, names};
}

// Strictly rising or falling; `flat` where the values do not differ by more than rounding.
bool is_monotone(const std::vector<double>& values, bool& flat) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  flat = *high - *low <= 1e-12 * std::max(std::abs(*high), std::abs(*low));
  const double sign = values.back() > values.front() ? 1 : -1;
  for (size_t i = 1; i < values.size(); ++i)
    if (!(sign * values[i] > sign * values[i - 1])) return false;
  return true;
}

std::vector<std::string> names_of(const nlohmann::json& noise) {
  require(noise.is_object(), "noise is {}: give {{u = \"normal(0, 1)\"}}", io::show(noise.dump()));
  std::vector<std::string> names;
  for (const auto& [name, distribution] : noise.items()) {
    require(distribution.is_string(), "noise {} is {}: give a distribution, as \"normal(0, 1)\"",
            io::show(name), io::show(distribution.dump()));
    names.push_back(name);
  }
  return names;
}

}  // namespace

EquationMechanism::EquationMechanism(const Role& role)
    : role_(role), value_([&] {
        const nlohmann::json& p = role.node.mechanism.parameters;
        Parameters parameters(p);
        return expression_of(role, parameters.get<std::string>("value"),
                             names_of(p.value("noise", nlohmann::json::object())));
      }()) {
  require(role.node.kind != NodeKind::image, "the node is an image");
  for (const Node& parent : role.parents)
    require(parent.kind != NodeKind::image, "its parent {} is an image", io::show(parent.name()));
  Parameters parameters(role.node.mechanism.parameters);
  parameters.get<std::string>("value");
  const auto noise = parameters.get("noise", nlohmann::json::object());
  for (const auto& [name, distribution] : noise.items())
    noises_.push_back({name, Distribution(distribution.get<std::string>())});
  for (size_t i = 0; i < noises_.size(); ++i)
    require(value_.mentions(role.parents.size() + i), "the value does not mention the noise {}",
            io::show(noises_[i].name));
  if (parameters.has("invertible")) {
    const bool invertible = parameters.get<bool>("invertible");
    require(!invertible || (noises_.size() == 1 && role.node.kind == NodeKind::continuous),
            "invertible is for a continuous node with one noise");
    abduction_ = invertible ? Abduction::exact : Abduction::impossible;
    if (role.node.is_discrete()) abduction_ = Abduction::posterior;
  } else {
    abduction_ = tried();
  }
  parameters.finish();
}

double EquationMechanism::Row::at(double noise) {
  arguments.back() = noise;
  return value();
}

void EquationMechanism::Row::set_noise(std::span<const double> noise) {
  std::copy(noise.begin(), noise.end(), arguments.end() - std::ssize(noise));
}

EquationMechanism::Row EquationMechanism::row(Parents parents, size_t at) const {
  Row row{*this, std::vector<double>(role_.parents.size() + noises_.size())};
  set_parents(row, parents, at);
  return row;
}

void EquationMechanism::set_parents(Row& row, Parents parents, size_t at) const {
  for (size_t p = 0; p < parents.size(); ++p) row.arguments[p] = parents[p]->numbers[at];
}

bool EquationMechanism::is_monotone(Row& row, bool& flat) const {
  const Distribution& d = noises_[0].distribution;
  std::vector<double> values;
  for (int i = 0; i < kGrid; ++i) {
    const double share = (i + 0.5) / kGrid;
    values.push_back(row.at(d.usual_low() + share * (d.usual_high() - d.usual_low())));
    if (!std::isfinite(values.back())) {
      flat = true;  // nothing can be said here
      return false;
    }
  }
  return causal::is_monotone(values, flat);
}

Abduction EquationMechanism::tried() const {
  if (role_.node.is_discrete()) return Abduction::posterior;
  if (noises_.empty()) return Abduction::exact;
  if (noises_.size() > 1 || !noises_[0].distribution.is_continuous()) return Abduction::impossible;
  Row row{*this, std::vector<double>(role_.parents.size() + 1)};
  int seen = 0;
  for (uint64_t i = 0; i < kTries; ++i) {
    RandomStream random({.purpose = kernels::Purpose::abduction}, i);
    for (size_t p = 0; p < role_.parents.size(); ++p) {
      const data::Attribute& parent = role_.parents[p].attribute;
      row.arguments[p] =
          parent.is_category()
              ? std::floor(random.uniform() * static_cast<double>(parent.states.size()))
          : std::isfinite(parent.low) && std::isfinite(parent.high)
              ? parent.low + random.uniform() * (parent.high - parent.low)
              : random.normal();
    }
    bool flat = false;
    const bool monotone = is_monotone(row, flat);
    if (flat) continue;
    if (!monotone) return Abduction::impossible;
    ++seen;
  }
  return seen > 0 ? Abduction::exact : Abduction::impossible;
}

double EquationMechanism::spread(Row& row) const {
  const Distribution& d = noises_[0].distribution;
  const double quarter = (d.usual_high() - d.usual_low()) / 4;
  return row.at(d.usual_high() - quarter) - row.at(d.usual_low() + quarter);
}

std::optional<double> EquationMechanism::solve(Row& row, double value) const {
  const Distribution& d = noises_[0].distribution;
  bool flat = false;
  require(is_monotone(row, flat) && !flat,
          "the equation {} is not monotone in {} for these parents: its noise cannot be told",
          io::show(value_.text()), noises_[0].name);
  const double low = d.usual_low(), high = d.usual_high(), width = high - low;
  const double own = spread(row);
  // Linear?
  const double guess = low + (value - row.at(low)) / (row.at(high) - row.at(low)) * width;
  if (std::abs(row.at(guess) - value) <= 1e-12 * std::min(std::abs(value), std::abs(own)))
    return guess;
  // A bracket, then bisection until nothing lies between its ends.
  const double sign = own > 0 ? 1 : -1;
  double a = low, b = high;
  for (double step = width; sign * row.at(a) > sign * value; step *= 2)
    if (a == d.low() || step > 1e12 * width)
      break;
    else
      a = std::max(d.low(), a - step);
  for (double step = width; sign * row.at(b) < sign * value; step *= 2)
    if (b == d.high() || step > 1e12 * width)
      break;
    else
      b = std::min(d.high(), b + step);
  for (;;) {
    const double middle = a + (b - a) / 2;
    if (middle == a || middle == b) break;
    (sign * row.at(middle) < sign * value ? a : b) = middle;
  }
  const double noise = std::abs(row.at(a) - value) < std::abs(row.at(b) - value) ? a : b;
  const double rounded = 1e-6 * (std::abs(value) + std::min(1.0, std::abs(own)));
  if (std::abs(row.at(noise) - value) <= rounded) return noise;
  return {};
}

Values EquationMechanism::abduct(const Values& value, Parents parents,
                                 const RowRandom& random) const {
  require(abduction_ != Abduction::impossible,
          "the noise of the equation {} cannot be told from its value", io::show(value_.text()));
  const size_t width = width_of_noise();
  std::vector<double> noise(value.numbers.size() * width);
  for (size_t i = 0; i < value.numbers.size(); ++i) {
    Row here = row(parents, i);
    const double x = value.numbers[i];
    const auto own = std::span(noise).subspan(i * width, width);
    if (noises_.empty()) {
      require(std::abs(checked(here.value()) - x) <= 1e-9 * (1 + std::abs(x)),
              "{} has probability zero: the equation says {}", role_.node.attribute.show(x),
              role_.node.attribute.show(here.value()));
    } else if (abduction_ == Abduction::exact) {
      const std::optional<double> u = solve(here, x);
      require(u.has_value(), "{} has probability zero: no {} makes it",
              role_.node.attribute.show(x), noises_[0].name);
      own[0] = *u;
    } else {
      RandomStream stream = random.stream(static_cast<int64_t>(i));
      int draws = 0;
      do {
        require(draws++ < kMostDraws,
                "{} is too improbable: none of {} draws of the noise makes it",
                role_.node.attribute.show(x), kMostDraws);
        draw(stream, own);
        here.set_noise(own);
      } while (checked(here.value()) != x);
    }
  }
  return Values(std::move(noise), static_cast<int64_t>(width));
}

double EquationMechanism::checked(double value) const {
  require(std::isfinite(value), "the equation {} has no finite value for some parents and noise",
          io::show(value_.text()));
  const data::Attribute& a = role_.node.attribute;
  if (role_.node.is_discrete()) {
    a.check(value);
    return value;
  }
  const double within = nearest_within(a, value);
  require(
      std::abs(value - within) <= 1e-9 * (1 + std::abs(within)),
      "the equation {} makes {} {}, and its range is {} to {}: widen it, or give min() and max()",
      io::show(value_.text()), a.name, value, a.low, a.high);
  return within;
}

Values EquationMechanism::predict(const Values& noise, Parents parents) const {
  std::vector<double> values;
  Row here{*this, std::vector<double>(role_.parents.size() + noises_.size())};
  for (size_t i = 0; i < static_cast<size_t>(noise.rows()); ++i) {
    set_parents(here, parents, i);
    here.set_noise(std::span(noise.numbers).subspan(i * width_of_noise(), noises_.size()));
    values.push_back(checked(here.value()));
  }
  return Values(std::move(values));
}

void EquationMechanism::draw(RandomStream& random, std::span<double> noise) const {
  for (size_t k = 0; k < noises_.size(); ++k) noise[k] = noises_[k].distribution.draw(random);
}

Values EquationMechanism::draw_noise(const RowRandom& random) const {
  const size_t width = width_of_noise();
  std::vector<double> noise(static_cast<size_t>(random.size()) * width);
  for (int64_t i = 0; i < random.size(); ++i) {
    RandomStream stream = random.stream(i);
    draw(stream, std::span(noise).subspan(static_cast<size_t>(i) * width, width));
  }
  return Values(std::move(noise), static_cast<int64_t>(width));
}

bool EquationMechanism::has_log_density() const {
  return role_.node.kind == NodeKind::continuous && noises_.size() == 1 &&
         abduction_ == Abduction::exact;
}

// p(x) = p(u) / |dx / du|, the derivative by central differences, wide enough for the digits that x
// has left: t = 1.7e9 + u.
std::vector<double> EquationMechanism::log_density(const Values& value, Parents parents) const {
  if (!has_log_density()) return Mechanism::log_density(value, parents);
  const Distribution& d = noises_[0].distribution;
  std::vector<double> log_p;
  for (size_t i = 0; i < value.numbers.size(); ++i) {
    Row here = row(parents, i);
    const double x = value.numbers[i];
    const std::optional<double> noise = solve(here, x);
    if (!noise) {
      log_p.push_back(-std::numeric_limits<double>::infinity());
      continue;
    }
    const double u = *noise;
    const double rounding = std::numeric_limits<double>::epsilon() * std::abs(x / spread(here));
    const double h = std::clamp(std::cbrt(rounding), 1e-6, 1e-2) * (d.usual_high() - d.usual_low());
    const double left = std::max(d.low(), u - h), right = std::min(d.high(), u + h);
    const double slope = (here.at(right) - here.at(left)) / (right - left);
    log_p.push_back(d.log_density(u) - std::log(std::abs(slope)));
  }
  return log_p;
}

void EquationMechanism::load(const MechanismState& state) {
  require(state.tensors.empty() && state.values.empty(), "an equation has learned nothing");
}

std::string EquationMechanism::description() const {
  switch (abduction_) {
    case Abduction::exact:
      return "equation";
    case Abduction::posterior:
      return "equation, noise drawn until it makes the state";
    case Abduction::impossible:
      return "equation, not invertible";
  }
  return "equation";
}

std::unique_ptr<Mechanism> make_equation(const Role& role) {
  return std::make_unique<EquationMechanism>(role);
}

}  // namespace diffscm::causal
