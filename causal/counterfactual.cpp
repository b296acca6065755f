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

Counterfactual counterfactual(const Action& action, const Chain& chain, const Tensor& factual,
                              const CounterfactualOptions& options, const Progress& progress,
                              const PassObserver& observer) {
  validate(options);
  const auto guided = static_cast<int>(
      std::count_if(options.scales.begin(), options.scales.end(), [](double s) { return s > 0; }));
  require(guided == 0 || !action.guidance.empty(),
          "a guidance scale above 0 needs a classifier or a conditional model");
  const bool at_each_scale = !action.factual.empty();
  const size_t abductions = at_each_scale ? std::max<size_t>(1, options.scales.size()) : 1;
  const int levels = chain.checked_levels(options.abduction.levels);
  const int total = levels * (2 * static_cast<int>(abductions) + guided);
  int passes = 0;
  const auto next_pass = [&]() -> Progress {
    const int before = levels * passes++;
    if (!progress) return {};
    return [&progress, before, total](int done, int) { progress(before + done, total); };
  };
  const auto watch = [&observer](Pass pass) -> Observer {
    if (!observer) return {};
    return [&observer, pass](int level, const Tensor& x) { observer(pass, level, x); };
  };

  Counterfactual result;
  const auto under = [&](const Guidance& guidance, Pass pass) {
    return predict(result.abduction.back(), action.epsilon, guidance, chain, levels,
                   options.threshold, next_pass(), watch(pass));
  };
  const auto encode = [&](double scale, size_t place) {
    const Guidance guidance = action.factual.scaled(scale);
    result.abduction.push_back(abduct(action.epsilon, guidance, chain, factual, options.abduction,
                                      next_pass(), watch({Pass::abduction, place})));
    result.reconstruction.push_back(under(guidance, {Pass::reconstruction, place}));
  };
  if (options.scales.empty()) encode(1, 0);
  for (size_t i = 0; i < options.scales.size(); ++i) {
    const double s = options.scales[i];
    if (i == 0 || at_each_scale) encode(s, i);
    result.counterfactual.push_back(s == 0
                                        ? result.reconstruction.back().clone()
                                        : under(action.guidance.scaled(s), {Pass::prediction, i}));
  }
  return result;
}

}  // namespace diffscm
