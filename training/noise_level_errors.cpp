#include "training/noise_level_errors.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "training/conditions.h"

namespace diffscm {

std::vector<NoiseLevelError> noise_level_errors(const Regressor& regressor,
                                                const data::Dataset& dataset,
                                                const NoiseSchedule& schedule, int64_t images,
                                                int levels, uint64_t seed, Target target,
                                                int64_t batch) {
  images = std::min(images, dataset.size());
  const Condition& attribute = regressor.config().attribute;
  std::vector<NoiseLevelError> errors;
  for (const int t : evenly_spaced_timesteps(schedule, levels)) {
    double squares = 0;
    for (int64_t begin = 0; begin < images; begin += batch) {
      std::vector<int64_t> index(static_cast<size_t>(std::min(batch, images - begin)));
      std::iota(index.begin(), index.end(), begin);
      const Tensor x_t = diffuse(dataset.images(index).to(target), index, schedule, t, seed);
      const std::vector<double> f = regressor.values(x_t, t),
                                y = condition_values({&attribute, 1}, dataset, index);
      for (size_t i = 0; i < f.size(); ++i)
        squares += std::pow((f[i] - y[i]) / attribute.deviation, 2);
    }
    errors.push_back(
        {t, std::max(NoiseLevelError::kLeast, std::sqrt(squares / static_cast<double>(images)))});
  }
  return errors;
}

}  // namespace diffscm
