#include "causal/counterfactual.h"

#include <algorithm>
#include <cmath>

namespace diffscm {

void validate(const CounterfactualOptions& options) {
  validate(options.abduction);
  for (const double s : options.scales)
    require(std::isfinite(s) && s >= 0, "guidance scale {}: give finite numbers >= 0", s);
  validate(options.threshold);
}

Counterfactual counterfactual(const EpsilonModel& epsilon, const Guidance& action,
                              const Chain& chain, const Tensor& factual,
                              const CounterfactualOptions& options, const Progress& progress,
                              const PassObserver& observer) {
  validate(options);
  const auto guided =
      std::count_if(options.scales.begin(), options.scales.end(), [](double s) { return s > 0; });
  require(guided == 0 || !action.empty(),
          "a guidance scale above 0 needs a classifier or a conditional model");
  const int levels = chain.checked_levels(options.abduction.levels);
  const int total = levels * (2 + static_cast<int>(guided));
  int passes = 0;
  const auto next_pass = [&]() -> Progress {
    const int before = levels * passes++;
    if (!progress) return {};
    return [&progress, before, total](int done, int) { progress(before + done, total); };
  };
  const auto watch = [&observer](size_t pass) -> Observer {
    if (!observer) return {};
    return [&observer, pass](int level, const Tensor& x) { observer(pass, level, x); };
  };

  Counterfactual result;
  result.abduction = abduct(epsilon, {}, chain, factual, options.abduction, next_pass(), watch(0));
  const auto under = [&](const Guidance& guidance, size_t pass) {
    return predict(result.abduction, epsilon, guidance, chain, levels, options.threshold,
                   next_pass(), watch(pass));
  };
  result.reconstruction = under({}, 1);
  for (size_t i = 0; i < options.scales.size(); ++i) {
    const double s = options.scales[i];
    result.counterfactual.push_back(s == 0 ? result.reconstruction.clone()
                                           : under(action.scaled(s), 2 + i));
  }
  return result;
}

}  // namespace diffscm
