#include "evaluation/metrics/cld.h"

#include <algorithm>
#include <cmath>

namespace diffscm {
namespace {

constexpr int64_t kBatch = 200;

void require_sample(std::span<const double> sample) {
  require(!sample.empty(), "an empirical probability needs at least one value: the class is empty");
}

double share(std::span<const double> sample, int64_t count) {
  return static_cast<double>(count) / static_cast<double>(sample.size());
}

}  // namespace

std::vector<double> divergences(const Gaussians& set, std::span<const double> mean,
                                std::span<const double> log_variance) {
  std::vector<double> d(static_cast<size_t>(set.mean.rows));
  for (int64_t i = 0; i < set.mean.rows; ++i)
    d[static_cast<size_t>(i)] =
        gaussian_kl(set.mean.row(i), set.log_variance.row(i), mean, log_variance);
  return d;
}

Gaussians posteriors(const Vae& vae, const Tensor& images) {
  const NoGrad no_grad;
  const int64_t n = images.dim(0), latent = vae.config().latent;
  Gaussians g{Matrix(n, latent), Matrix(n, latent)};
  in_batches(n, kBatch, [&](int64_t begin, int64_t end) {
    const Matrix both = to_matrix(vae.encode(images.slice(begin, end)).value());
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t l = 0; l < latent; ++l) {
        g.mean.at(i, l) = both.at(i - begin, l);
        g.log_variance.at(i, l) = both.at(i - begin, latent + l);
      }
    }
  });
  return g;
}

double gaussian_kl(std::span<const double> mean_p, std::span<const double> log_variance_p,
                   std::span<const double> mean_q, std::span<const double> log_variance_q) {
  const size_t n = mean_p.size();
  require(n > 0 && log_variance_p.size() == n && mean_q.size() == n && log_variance_q.size() == n,
          "the divergence of Gaussians of {} and {} dimensions", n, mean_q.size());
  double kl = 0;
  for (size_t i = 0; i < n; ++i) {
    // log s_q^2 - log s_p^2 + s_p^2 / s_q^2 - 1 = expm1(v) - v, which keeps its digits near 0.
    const double v = log_variance_p[i] - log_variance_q[i], d = mean_p[i] - mean_q[i];
    kl += 0.5 * (std::expm1(v) - v + d * d * std::exp(-log_variance_q[i]));
  }
  return kl;
}

double share_at_most(std::span<const double> sample, double value) {
  require_sample(sample);
  return share(sample,
               std::count_if(sample.begin(), sample.end(), [&](double s) { return s <= value; }));
}

double share_at_least(std::span<const double> sample, double value) {
  require_sample(sample);
  return share(sample,
               std::count_if(sample.begin(), sample.end(), [&](double s) { return s >= value; }));
}

double latent_divergence(double p_target_at_most, double p_factual_at_least) {
  return std::log(std::exp(p_target_at_most) + std::exp(p_factual_at_least));
}

CldReference::CldReference(const Vae& vae, const data::Dataset& dataset, int64_t per_class,
                           Target target) {
  require(!dataset.labels.empty(), "CLD: data set {} has no labels, which its reference sets need",
          dataset.name);
  std::vector<std::vector<int64_t>> index(static_cast<size_t>(dataset.classes));
  for (int64_t i = 0; i < dataset.size(); ++i) {
    auto& rows = index[static_cast<size_t>(dataset.labels[static_cast<size_t>(i)])];
    if (per_class == 0 || static_cast<int64_t>(rows.size()) < per_class) rows.push_back(i);
  }
  for (size_t label = 0; label < index.size(); ++label) {
    const auto& rows = index[label];
    require(!rows.empty(), "CLD: data set {} has no image of class {}", dataset.name, label);
    Gaussians all;
    in_batches(static_cast<int64_t>(rows.size()), kBatch, [&](int64_t begin, int64_t end) {
      const auto some =
          std::span(rows).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
      const Gaussians g = posteriors(vae, dataset.images(some).to(target));
      all.mean.append(g.mean);
      all.log_variance.append(g.log_variance);
    });
    by_class_.push_back(std::move(all));
  }
}

std::vector<Cld> CldReference::score(const Gaussians& factual, const Gaussians& counterfactual,
                                     std::span<const int64_t> factual_class,
                                     std::span<const int64_t> target_class) const {
  const int64_t n = factual.mean.rows;
  require(counterfactual.mean.rows == n, "CLD: {} counterfactuals for {} factual images",
          counterfactual.mean.rows, n);
  require_classes(factual_class, n, classes(), "factual classes");
  require_classes(target_class, n, classes(), "target classes");
  std::vector<Cld> result(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    const auto mean = factual.mean.row(i), log_variance = factual.log_variance.row(i);
    const auto set = [&](std::span<const int64_t> label) {
      return divergences(by_class_[static_cast<size_t>(label[static_cast<size_t>(i)])], mean,
                         log_variance);
    };
    Cld& cld = result[static_cast<size_t>(i)];
    cld.divergence = gaussian_kl(counterfactual.mean.row(i), counterfactual.log_variance.row(i),
                                 mean, log_variance);
    require(std::isfinite(cld.divergence), "CLD: the VAE's divergence for image {} is {}", i,
            cld.divergence);
    cld.p_target = share_at_most(set(target_class), cld.divergence);
    cld.p_factual = share_at_least(set(factual_class), cld.divergence);
    cld.value = latent_divergence(cld.p_target, cld.p_factual);
  }
  return result;
}

}  // namespace diffscm
