#include "evaluation/baselines/prototype.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "diffusion/batch.h"
#include "models/probabilities.h"

namespace diffscm::baselines {
namespace {

using Floats = std::vector<float>;

constexpr double kGradientBound = 1000;  // the authors' clip

// All images of a batch advance together; everything below is per image.
class Search {
 public:
  Search(const PrototypeNetworks& networks, const Tensor& factual, std::span<const int64_t> targets,
         const PrototypeOptions& options)
      : networks_(networks),
        targets_(targets),
        options_(options),
        shape_(factual.shape()),
        target_(factual.target()),
        n_(factual.dim(0)),
        elements_(factual.numel() / n_),
        start_(factual.to_vector()),
        best_cost_(static_cast<size_t>(n_), std::numeric_limits<double>::infinity()) {
    for (float& u : start_) u = 0.5f * (u + 1);
    best_ = start_;
  }

  // One FISTA run with weights c; found[i]: the target was reached at least once.
  std::vector<uint8_t> run(const std::vector<double>& c, const std::function<void()>& step_done) {
    std::vector<uint8_t> found(static_cast<size_t>(n_), 0);
    Floats y = start_, x = start_;
    for (int k = 0; k < options_.iterations; ++k) {
      const Floats gradient = smooth_gradient(y, c);
      const double rate =
          options_.learning_rate * std::sqrt(1 - static_cast<double>(k) / options_.iterations);
      const double momentum = k / (k + 3.0);
      for (size_t i = 0; i < x.size(); ++i) {
        const double moved =
            y[i] - rate * std::clamp<double>(gradient[i], -kGradientBound, kGradientBound);
        const float next = shrink(moved, start_[i]);
        y[i] = static_cast<float>(std::clamp(next + momentum * (next - x[i]), 0.0, 1.0));
        x[i] = next;
      }
      keep_best(x, found);
      step_done();
    }
    last_ = x;
    return found;
  }

  Explanation result() const {
    Explanation e;
    Floats image = best_;
    for (int64_t i = 0; i < n_; ++i) {
      e.found.push_back(std::isfinite(best_cost_[static_cast<size_t>(i)]));
      if (!e.found.back())
        std::copy_n(last_.begin() + i * elements_, elements_, image.begin() + i * elements_);
    }
    for (float& u : image) u = 2 * u - 1;
    e.image = Tensor::from(image, shape_, target_);
    e.iterations.assign(static_cast<size_t>(n_), options_.iterations * options_.c_steps);
    return e;
  }

 private:
  // The proximal map of beta |u - u0|_1, then the range of a pixel.
  float shrink(double u, double u0) const {
    const double d = u - u0;
    const double kept =
        d > options_.beta ? d - options_.beta : (d < -options_.beta ? d + options_.beta : 0.0);
    return static_cast<float>(std::clamp(u0 + kept, 0.0, 1.0));
  }

  Tensor images(const Floats& u, bool signed_range) const {
    if (!signed_range) return Tensor::from(u, shape_, target_);
    Floats x = u;
    for (float& v : x) v = 2 * v - 1;
    return Tensor::from(x, shape_, target_);
  }

  // The most probable class other than the target.
  size_t rival(std::span<const float> p, int64_t target) const {
    size_t best = target == 0 ? 1 : 0;
    for (size_t i = 0; i < p.size(); ++i)
      if (static_cast<int64_t>(i) != target && p[i] > p[best]) best = i;
    return best;
  }

  // Gradient of everything but the L1 term.
  Floats smooth_gradient(const Floats& u, const std::vector<double>& c) const {
    Floats gradient(u.size());
    for (size_t i = 0; i < u.size(); ++i) gradient[i] = 2 * (u[i] - start_[i]);
    add_hinge(u, c, gradient);
    add_autoencoder(u, gradient);
    return gradient;
  }

  void add_hinge(const Floats& u, const std::vector<double>& c, Floats& gradient) const {
    const Variable x = Variable::leaf(images(u, true));
    const Variable logits = networks_.logits(x);
    const ClassProbabilities p = softmax(logits.value());
    Floats seed;
    for (size_t i = 0; i < p.size(); ++i) {
      const auto t = static_cast<size_t>(targets_[i]);
      const size_t r = rival(p[i], targets_[i]);
      const bool active = p[i][r] - p[i][t] + options_.kappa > 0;
      // d (p_r - p_t) / d logit_j = p_r (delta_rj - p_j) - p_t (delta_tj - p_j)
      for (size_t j = 0; j < p[i].size(); ++j) {
        const double d = p[i][r] * ((j == r) - p[i][j]) - p[i][t] * ((j == t) - p[i][j]);
        seed.push_back(active ? static_cast<float>(c[i] * d) : 0.0f);
      }
    }
    backward(logits, Tensor::from(seed, logits.shape(), target_));
    const Floats dx = x.gradient().to_vector();
    for (size_t i = 0; i < gradient.size(); ++i) gradient[i] += 2 * dx[i];  // x = 2 u - 1
  }

  // Both terms in one pass: the decoder's gradient enters the encoder together with the
  // prototype's.
  void add_autoencoder(const Floats& u, Floats& gradient) const {
    const Variable image = Variable::leaf(images(u, false));
    const Variable latent = networks_.encode(image);
    const Variable z = Variable::leaf(latent.value());
    const Variable decoded = networks_.decode(z);
    require(decoded.value().numel() == image.value().numel(),
            "the autoencoder answers {} for images {}", to_string(decoded.shape()),
            to_string(image.shape()));
    Floats residual = decoded.value().to_vector();  // 2 gamma (AE(u) - u)
    for (size_t i = 0; i < residual.size(); ++i)
      residual[i] = static_cast<float>(2 * options_.gamma * (residual[i] - u[i]));
    backward(decoded, Tensor::from(residual, decoded.shape(), target_));

    Floats pull = z.gradient().to_vector();
    const Floats encoding = latent.value().to_vector(),
                 prototypes = networks_.prototypes.to_vector();
    const size_t width = encoding.size() / static_cast<size_t>(n_);
    for (size_t i = 0; i < pull.size(); ++i) {
      const size_t row = static_cast<size_t>(targets_[i / width]);
      pull[i] += static_cast<float>(2 * options_.theta *
                                    (encoding[i] - prototypes[row * width + i % width]));
    }
    backward(latent, Tensor::from(pull, latent.shape(), target_));
    const Floats through = image.gradient().to_vector();
    for (size_t i = 0; i < gradient.size(); ++i) gradient[i] += through[i] - residual[i];
  }

  void keep_best(const Floats& u, std::vector<uint8_t>& found) {
    const NoGrad no_grad;
    const ClassProbabilities p = softmax(networks_.logits(images(u, true)).value());
    for (int64_t i = 0; i < n_; ++i) {
      const auto row = static_cast<size_t>(i);
      const double margin = p[row][static_cast<size_t>(targets_[row])] -
                            p[row][rival(p[row], targets_[row])] - options_.kappa;
      if (!(margin > 0)) continue;
      found[row] = 1;
      double cost = 0;
      for (int64_t e = i * elements_; e < (i + 1) * elements_; ++e) {
        const double d = u[static_cast<size_t>(e)] - start_[static_cast<size_t>(e)];
        cost += options_.beta * std::abs(d) + d * d;
      }
      if (cost >= best_cost_[row]) continue;
      best_cost_[row] = cost;
      std::copy_n(u.begin() + i * elements_, elements_, best_.begin() + i * elements_);
    }
  }

  const PrototypeNetworks& networks_;
  const std::span<const int64_t> targets_;
  const PrototypeOptions& options_;
  const Shape shape_;
  const Target target_;
  const int64_t n_, elements_;
  Floats start_;  // u0
  Floats best_, last_;
  std::vector<double> best_cost_;
};

}  // namespace

void validate(const PrototypeOptions& o) {
  for (const auto& [name, value] : {std::pair{"c", o.c},
                                    {"beta", o.beta},
                                    {"gamma", o.gamma},
                                    {"theta", o.theta},
                                    {"kappa", o.kappa}})
    require(std::isfinite(value) && value >= 0, "prototype {} {}: give a finite number >= 0", name,
            value);
  require(std::isfinite(o.learning_rate) && o.learning_rate > 0,
          "prototype learning rate {}: give a finite number > 0", o.learning_rate);
  require(o.iterations >= 1 && o.c_steps >= 1,
          "prototype iterations {} and c_steps {}: give at least 1", o.iterations, o.c_steps);
}

Tensor class_prototypes(const ImageFunction& encode, const data::Dataset& dataset,
                        int64_t per_class, Target target) {
  require(per_class >= 1, "{} images per prototype: give at least 1", per_class);
  require(!dataset.labels.empty(), "{} has no labels: prototypes are means of classes",
          dataset.name);
  const NoGrad no_grad;
  Floats all;
  int64_t width = 0;
  for (int64_t label = 0; label < dataset.classes; ++label) {
    std::vector<int64_t> members;
    for (int64_t i = 0; i < dataset.size() && static_cast<int64_t>(members.size()) < per_class; ++i)
      if (dataset.labels[static_cast<size_t>(i)] == label) members.push_back(i);
    require(!members.empty(), "{} has no image of class {}: it cannot have a prototype",
            dataset.name, label);
    Tensor images = dataset.images(members);
    images = combine(0.5, images, 0.5, Tensor::full(images.shape(), 1));
    const Tensor z = encode(images.to(target)).value();
    const auto count = static_cast<int64_t>(members.size());
    width = z.numel() / count;
    const Floats values = z.to_vector();
    for (int64_t e = 0; e < width; ++e) {
      double sum = 0;
      for (int64_t i = 0; i < count; ++i) sum += values[static_cast<size_t>(i * width + e)];
      all.push_back(static_cast<float>(sum / static_cast<double>(count)));
    }
  }
  return Tensor::from(all, {dataset.classes, width}, target);
}

Explanation prototype_guided(const PrototypeNetworks& networks, const Tensor& factual,
                             std::span<const int64_t> targets, const PrototypeOptions& options,
                             const Progress& progress) {
  validate(options);
  require_batch(factual, "the image to explain");
  require_targets(targets, factual, networks.prototypes.dim(0));
  const auto n = static_cast<size_t>(factual.dim(0));
  Search search(networks, factual, targets, options);
  std::vector<double> c(n, options.c), low(n, 0), high(n, std::numeric_limits<double>::infinity());
  const int total = options.iterations * options.c_steps;
  int done = 0;
  for (int step = 0; step < options.c_steps; ++step) {
    const auto found = search.run(c, [&] {
      if (progress) progress(++done, total);
    });
    for (size_t i = 0; i < n; ++i) {
      (found[i] ? high : low)[i] = found[i] ? std::min(high[i], c[i]) : std::max(low[i], c[i]);
      c[i] = std::isfinite(high[i]) ? 0.5 * (low[i] + high[i]) : 10 * c[i];
    }
  }
  return search.result();
}

}  // namespace diffscm::baselines
