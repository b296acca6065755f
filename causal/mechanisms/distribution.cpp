#include "causal/mechanisms/distribution.h"

#include <fmt/ranges.h>

#include <array>
#include <cmath>
#include <limits>
#include <numbers>

#include "causal/expression.h"
#include "engine/io/file.h"
#include "engine/io/trim.h"
#include "kernels/error.h"

namespace diffscm::causal {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Form {
  const char* name;
  const char* arguments;
  size_t count;
};
// In the order of Distribution::Kind.
constexpr std::array<Form, 9> kForms{{{"normal", "mean, deviation", 2},
                                      {"uniform", "low, high", 2},
                                      {"exponential", "rate", 1},
                                      {"laplace", "location, scale", 2},
                                      {"logistic", "location, scale", 2},
                                      {"gumbel", "location, scale", 2},
                                      {"gamma", "shape, rate", 2},
                                      {"beta", "a, b", 2},
                                      {"bernoulli", "p", 1}}};

// Split at commas outside parentheses.
std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts{""};
  int depth = 0;
  for (const char c : text) {
    depth += (c == '(') - (c == ')');
    if (c == ',' && depth == 0) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

// Marsaglia & Tsang 2000, rate 1.
double draw_gamma(double shape, RandomStream& random) {
  if (shape < 1) return draw_gamma(shape + 1, random) * std::pow(random.uniform(), 1 / shape);
  const double d = shape - 1 / 3., c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = random.normal(), v = std::pow(1 + c * x, 3);
    if (v > 0 && std::log(random.uniform()) < x * x / 2 + d - d * v + d * std::log(v)) return d * v;
  }
}

}  // namespace

Distribution::Distribution(const std::string& text) : text_(text) {
  const size_t open = text.find('('), close = text.find_last_of(')');
  std::vector<std::string> names;
  for (const Form& form : kForms) names.push_back(fmt::format("{}({})", form.name, form.arguments));
  require(open != std::string::npos && close != std::string::npos && close > open &&
              io::trimmed(text.substr(close + 1)).empty(),
          "{} is not a distribution: give {}", io::show(text), fmt::join(names, ", "));
  const std::string name(io::trimmed(std::string_view(text).substr(0, open)));
  size_t kind = 0;
  while (kind < kForms.size() && name != kForms[kind].name) ++kind;
  require(kind < kForms.size(), "the distribution {} is unknown: give {}", io::show(name),
          fmt::join(names, ", "));
  kind_ = static_cast<Kind>(kind);
  const auto arguments = split(text.substr(open + 1, close - open - 1));
  require(arguments.size() == kForms[kind].count, "{}: give {}", io::show(text), names[kind]);
  a_ = Expression(arguments[0], {})({});
  if (arguments.size() > 1) b_ = Expression(arguments[1], {})({});
  require(std::isfinite(a_) && std::isfinite(b_), "{}: {} and {} must be finite", io::show(text),
          a_, b_);
  const auto positive = [&](double value) {
    require(value > 0, "{}: {} must be above 0", io::show(text), value);
  };
  low_ = -kInfinity;
  high_ = kInfinity;
  switch (kind_) {
    case Kind::normal:
      positive(b_);
      usual_low_ = a_ - 5 * b_;
      usual_high_ = a_ + 5 * b_;
      break;
    case Kind::uniform:
      require(a_ < b_, "{}: {} must be below {}", io::show(text), a_, b_);
      low_ = usual_low_ = a_;
      high_ = usual_high_ = b_;
      break;
    case Kind::exponential:
      positive(a_);
      low_ = usual_low_ = 0;
      usual_high_ = 15 / a_;
      break;
    case Kind::laplace:
    case Kind::logistic:
      positive(b_);
      usual_low_ = a_ - 15 * b_;
      usual_high_ = a_ + 15 * b_;
      break;
    case Kind::gumbel:
      positive(b_);
      usual_low_ = a_ - 3 * b_;
      usual_high_ = a_ + 15 * b_;
      break;
    case Kind::gamma:
      positive(a_);
      positive(b_);
      low_ = usual_low_ = 0;
      usual_high_ = (a_ + 6 * std::sqrt(a_) + 12) / b_;
      break;
    case Kind::beta:
      positive(a_);
      positive(b_);
      low_ = usual_low_ = 0;
      high_ = usual_high_ = 1;
      break;
    case Kind::bernoulli:
      require(a_ >= 0 && a_ <= 1, "{}: {} is not a probability", io::show(text), a_);
      low_ = usual_low_ = 0;
      high_ = usual_high_ = 1;
      break;
  }
}

bool Distribution::is_continuous() const {
  return kind_ != Kind::bernoulli;
}

double Distribution::draw(RandomStream& random) const {
  switch (kind_) {
    case Kind::normal:
      return a_ + b_ * random.normal();
    case Kind::uniform:
      return a_ + (b_ - a_) * random.uniform();
    case Kind::exponential:
      return -std::log(random.uniform()) / a_;
    case Kind::laplace: {
      const double u = random.uniform() - 0.5;
      return a_ - b_ * std::copysign(std::log1p(-2 * std::abs(u)), u);
    }
    case Kind::logistic: {
      const double u = random.uniform();
      return a_ + b_ * (std::log(u) - std::log1p(-u));
    }
    case Kind::gumbel:
      return a_ + b_ * random.gumbel();
    case Kind::gamma:
      return draw_gamma(a_, random) / b_;
    case Kind::beta: {
      const double x = draw_gamma(a_, random), y = draw_gamma(b_, random);
      return x / (x + y);
    }
    case Kind::bernoulli:
      return random.uniform() < a_;
  }
  return 0;
}

double Distribution::log_density(double x) const {
  if (!(x >= low_ && x <= high_)) return -kInfinity;
  const double z = (x - a_) / b_;
  switch (kind_) {
    case Kind::normal:
      return -z * z / 2 - std::log(b_) - std::log(2 * std::numbers::pi) / 2;
    case Kind::uniform:
      return -std::log(b_ - a_);
    case Kind::exponential:
      return std::log(a_) - a_ * x;
    case Kind::laplace:
      return -std::abs(z) - std::log(2 * b_);
    case Kind::logistic:
      return -std::abs(z) - 2 * std::log1p(std::exp(-std::abs(z))) - std::log(b_);
    case Kind::gumbel:
      return -z - std::exp(-z) - std::log(b_);
    case Kind::gamma:
      return a_ * std::log(b_) + (a_ == 1 ? 0 : (a_ - 1) * std::log(x)) - b_ * x - std::lgamma(a_);
    case Kind::beta:
      return (a_ == 1 ? 0 : (a_ - 1) * std::log(x)) + (b_ == 1 ? 0 : (b_ - 1) * std::log1p(-x)) +
             std::lgamma(a_ + b_) - std::lgamma(a_) - std::lgamma(b_);
    case Kind::bernoulli:
      return x == 1 ? std::log(a_) : x == 0 ? std::log1p(-a_) : -kInfinity;
  }
  return 0;
}

}  // namespace diffscm::causal
