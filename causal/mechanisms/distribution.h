// Distributions of numbers by name: what the noise of a structural equation is.
#pragma once

#include <string>
#include <vector>

#include "causal/row_random.h"

namespace diffscm::causal {

// normal(mean, deviation)  uniform(low, high)   exponential(rate)       laplace(location, scale)
// logistic(location, scale) gumbel(location, scale) gamma(shape, rate)  beta(a, b)
// bernoulli(p), which is 1 or 0
class Distribution {
 public:
  // Throws Error naming the text, and what there is; arguments may be arithmetic ("2 * pi").
  explicit Distribution(const std::string& text);

  double draw(RandomStream& random) const;
  // log of the density (bernoulli: of the probability); -inf outside the support.
  double log_density(double x) const;
  // Ends of the support, -inf and inf where there are none.
  double low() const { return low_; }
  double high() const { return high_; }
  // An interval that holds all but a few millionths of the probability.
  double usual_low() const { return usual_low_; }
  double usual_high() const { return usual_high_; }
  bool is_continuous() const;
  const std::string& text() const { return text_; }

 private:
  enum class Kind {
    normal,
    uniform,
    exponential,
    laplace,
    logistic,
    gumbel,
    gamma,
    beta,
    bernoulli
  };

  std::string text_;
  Kind kind_;
  double a_ = 0, b_ = 1;
  double low_, high_, usual_low_, usual_high_;
};

}  // namespace diffscm::causal
