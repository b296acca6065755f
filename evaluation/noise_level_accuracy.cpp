#include "evaluation/noise_level_accuracy.h"

#include <algorithm>
#include <numeric>

namespace diffscm {

std::vector<NoiseLevelAccuracy> noise_level_accuracy(const Classifier& classifier,
                                                     const data::Dataset& dataset,
                                                     const NoiseSchedule& schedule, int64_t images,
                                                     int levels, uint64_t seed, Target target,
                                                     int64_t batch) {
  images = std::min(images, dataset.size());
  std::vector<NoiseLevelAccuracy> result;
  for (const int t : evenly_spaced_timesteps(schedule, levels)) {
    int64_t correct = 0;
    for (int64_t begin = 0; begin < images; begin += batch) {
      std::vector<int64_t> index(static_cast<size_t>(std::min(batch, images - begin)));
      std::iota(index.begin(), index.end(), begin);
      const Tensor x_t = diffuse(dataset.images(index).to(target), index, schedule, t, seed);
      const ClassProbabilities p = classifier.probabilities(x_t, t);
      const std::vector<int64_t> labels = dataset.labels_of(index);
      for (size_t i = 0; i < index.size(); ++i) correct += argmax(p[i]) == labels[i];
    }
    result.push_back(
        {t, schedule.alpha_bar(t), static_cast<double>(correct) / static_cast<double>(images)});
  }
  return result;
}

}  // namespace diffscm
