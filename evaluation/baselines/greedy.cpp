#include "evaluation/baselines/greedy.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "diffusion/batch.h"
#include "models/probabilities.h"

namespace diffscm::baselines {
namespace {

struct Image {
  int64_t row;  // in the batch
  std::vector<float> pixels;
  std::vector<int> moves;
};

// Moves the most influential pixel that can still move. False: there is none.
bool move_one_pixel(Image& image, const float* gradient, const GreedyOptions& options) {
  size_t best = image.pixels.size();
  for (size_t i = 0; i < image.pixels.size(); ++i) {
    const float g = gradient[i];
    const bool at_bound = g > 0 ? image.pixels[i] >= 1 : image.pixels[i] <= -1;
    if (image.moves[i] == options.changes || at_bound || !(std::abs(g) > 0)) continue;
    if (best == image.pixels.size() || std::abs(g) > std::abs(gradient[best])) best = i;
  }
  if (best == image.pixels.size()) return false;
  const float step = std::copysign(2.0f / static_cast<float>(options.changes), gradient[best]);
  image.pixels[best] = std::clamp(image.pixels[best] + step, -1.0f, 1.0f);
  ++image.moves[best];
  return true;
}

}  // namespace

void validate(const GreedyOptions& o) {
  require(o.changes >= 1 && o.changes <= 255, "{} changes per pixel: give 1 to 255", o.changes);
  require(o.max_iterations >= 1, "{} greedy iterations: give at least 1", o.max_iterations);
  require(o.confidence > 0 && o.confidence < 1, "greedy confidence {}: give a number in (0, 1)",
          o.confidence);
}

Explanation greedy(const ImageFunction& logits, const Tensor& factual,
                   std::span<const int64_t> targets, const GreedyOptions& options,
                   const Progress& progress) {
  validate(options);
  require_batch(factual, "the image to explain");
  const int64_t n = factual.dim(0), elements = factual.numel() / n;
  const std::vector<float> pixels = factual.to_vector();

  Explanation result;
  result.found.assign(static_cast<size_t>(n), 0);
  result.iterations.assign(static_cast<size_t>(n), 0);
  std::vector<float> answer = pixels;
  std::vector<Image> active;
  for (int64_t i = 0; i < n; ++i)
    active.push_back({i,
                      {pixels.begin() + i * elements, pixels.begin() + (i + 1) * elements},
                      std::vector<int>(static_cast<size_t>(elements), 0)});

  for (int iteration = 0; !active.empty(); ++iteration) {
    std::vector<float> batch;
    for (const Image& image : active)
      batch.insert(batch.end(), image.pixels.begin(), image.pixels.end());
    Shape shape = factual.shape();
    shape[0] = static_cast<int64_t>(active.size());
    const Variable x = Variable::leaf(Tensor::from(batch, shape, factual.target()));
    const Variable scores = logits(x);
    const ClassProbabilities p = softmax(scores.value());
    require_targets(targets, factual, scores.dim(1));

    std::vector<float> seed;  // d log p(target) / d logits = onehot - p
    for (size_t i = 0; i < active.size(); ++i)
      for (int64_t c = 0; c < scores.dim(1); ++c)
        seed.push_back((c == targets[static_cast<size_t>(active[i].row)] ? 1.0f : 0.0f) -
                       p[i][static_cast<size_t>(c)]);
    backward(scores, Tensor::from(seed, scores.shape(), factual.target()));
    const std::vector<float> gradient = x.gradient().to_vector();

    std::vector<Image> stay;
    for (size_t i = 0; i < active.size(); ++i) {
      Image& image = active[i];
      const auto row = static_cast<size_t>(image.row);
      result.iterations[row] = iteration + 1;
      result.found[row] = p[i][static_cast<size_t>(targets[row])] >= options.confidence;
      const bool finished = result.found[row] || iteration + 1 >= options.max_iterations;
      if (!finished &&
          move_one_pixel(image, gradient.data() + static_cast<int64_t>(i) * elements, options))
        stay.push_back(std::move(image));
      else
        std::copy(image.pixels.begin(), image.pixels.end(), answer.begin() + image.row * elements);
    }
    active = std::move(stay);
    if (progress)
      progress(static_cast<int>(n) - static_cast<int>(active.size()), static_cast<int>(n));
  }
  result.image = Tensor::from(answer, factual.shape(), factual.target());
  return result;
}

}  // namespace diffscm::baselines
