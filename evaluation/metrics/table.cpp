#include "evaluation/metrics/table.h"

#include <algorithm>
#include <numbers>

#include "evaluation/metrics/fidelity.h"
#include "evaluation/metrics/realism.h"

namespace diffscm {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr const char* kGrey = "grey levels";

template <class T, class Value>
std::vector<double> each(const std::vector<T>& judged, Value&& value) {
  std::vector<double> values;
  for (const T& j : judged) values.push_back(value(j));
  return values;
}

std::vector<double> disagreement(const Judgement& j) {
  std::vector<double> values;
  for (size_t i = 0; i < j.guide.size(); ++i)
    values.push_back(adversarial(j.oracle[i], j.guide[i]));
  return values;
}

// In units of the real features' root mean square.
double relative_mmd(const Matrix& features, const Matrix& real) {
  const double scale = unit_scale(real);
  return kernel_mmd(scaled(features, scale), scaled(real, scale));
}

}  // namespace

const std::vector<Metric>& metrics() {
  static const std::vector<Metric> table = {
      {"cld", "CLD", "", -1, 3, std::numbers::ln2, 1 + std::numbers::ln2,
       "Counterfactual Latent Divergence: small when the image is as far from the factual as "
       "the factual's own class, and no further than the nearest of the target class. No change "
       "at all gives 1.313.",
       [](const Judgement& j) { return each(j.cld, [](const Cld& c) { return c.value; }); }},
      {"oracle_flip", "oracle flips", "", +1, 3, 0, 1,
       "Share of images that a classifier with no part in making them sees as the target.",
       [](const Judgement& j) { return each(j.oracle, [](const auto& o) { return o.flip; }); }},
      {"guide_flip", "guide flips", "", +1, 3, 0, 1,
       "Share of images that the guiding classifier sees as the target.",
       [](const Judgement& j) { return each(j.guide, [](const auto& g) { return g.flip; }); }},
      {"disagree", "disagreement", "", -1, 3, 0, 1,
       "Share of images the guide calls the target and the oracle does not: adversarial flips.",
       disagreement},
      {"oracle_p_target", "p(target)", "", +1, 3, 0, 1, "The oracle's probability of the target.",
       [](const Judgement& j) { return each(j.oracle, [](const auto& o) { return o.p_target; }); }},
      {"l1", "L1", kGrey, -1, 2, 0, 255, "Mean absolute change of a pixel, 0 to 255.",
       [](const Judgement& j) { return l1_distance(j.factual, j.image); }},
      {"l0", "L0", "", -1, 3, 0, 1, "Share of pixels changed by more than the threshold.",
       [](const Judgement& j) { return l0_distance(j.factual, j.image); }},
      {"im1", "IM1", "", -1, 3, 0, kInfinity,
       "Reconstruction error of the target class's autoencoder over that of the factual class's: "
       "below 1, the image belongs to the target.",
       [](const Judgement& j) {
         return each(j.interpretability, [](const Interpretability& i) { return i.im1; });
       }},
      {"im2", "IM2 x 100", "", -1, 3, 0, kInfinity,
       "Disagreement of the target class's and the all-class autoencoder, times 100.",
       [](const Judgement& j) {
         return each(j.interpretability, [](const Interpretability& i) { return 100 * i.im2; });
       }},
      {"truth_l1", "L1 to truth", kGrey, -1, 2, 0, 255,
       "Distance to the true counterfactual: same noise, other class. Known for generated data "
       "only.",
       [](const Judgement& j) {
         return j.truth ? l1_distance(j.image, j.truth) : std::vector<double>();
       }},
      {"factual_truth_l1", "factual to truth", kGrey, 0, 2, 0, 255,
       "What doing nothing would score.",
       [](const Judgement& j) {
         return j.truth ? l1_distance(j.factual, j.truth) : std::vector<double>();
       }},
      {"composition_1", "composition 1", kGrey, -1, 3, 0, 255,
       "L1 to the factual after one null intervention."},
      {"composition_10", "composition 10", kGrey, -1, 3, 0, 255,
       "L1 to the factual after ten null interventions."},
      {"reversibility", "reversibility", kGrey, -1, 2, 0, 255,
       "L1 to the factual after the intervention and the one that undoes it."},
      {"frechet", "Frechet", "", -1, 2, 0, kInfinity,
       "Frechet distance to real images of the target classes, on the oracle's features (not "
       "FID).",
       nullptr,
       [](const Matrix& features, const Matrix& real) { return frechet_distance(features, real); }},
      {"mmd", "MMD x 100", "", -1, 3, -kInfinity, kInfinity,
       "Squared kernel distance to real images of the target classes, on the oracle's features, "
       "times 100.",
       nullptr,
       [](const Matrix& features, const Matrix& real) {
         return 100 * relative_mmd(features, real);
       }},
      {"converged", "converged", "", +1, 3, 0, 1,
       "Share of images whose abduction reached its tolerance."},
      {"residual", "residual", kGrey, -1, 3, 0, kInfinity, "Worst residual of the abduction."},
      {"found", "found", "", +1, 3, 0, 1,
       "Share of images that the explained classifier sees as the target."},
      {"evaluations", "U-Net calls", "", 0, 0, 0, kInfinity,
       "Evaluations of the diffusion model per image."},
      {"gradients", "gradients", "", 0, 0, 0, kInfinity, "Gradients of a classifier per image."},
      {"seconds", "seconds", "s", 0, 2, 0, kInfinity, "Time per image where this was run."},
  };
  return table;
}

const Metric& metric(const std::string& name) {
  const auto& table = metrics();
  const auto found =
      std::find_if(table.begin(), table.end(), [&](const Metric& m) { return m.name == name; });
  if (found != table.end()) return *found;
  std::string names;
  for (const Metric& m : table) names += (names.empty() ? "" : ", ") + std::string(m.name);
  fail("there is no metric '{}': the metrics are {}", name, names);
}

std::vector<Metrics> image_metrics(const Judgement& judgement) {
  std::vector<Metrics> all(static_cast<size_t>(judgement.image.dim(0)));
  for (const Metric& m : metrics()) {
    if (m.of_images == nullptr) continue;
    const std::vector<double> values = m.of_images(judgement);
    require(values.empty() || values.size() == all.size(), "{} {} values for {} images",
            values.size(), m.name, all.size());
    for (size_t i = 0; i < values.size(); ++i) all[i][m.name] = values[i];
  }
  return all;
}

Metrics set_metrics(const Matrix& features, const Matrix& real) {
  Metrics all;
  for (const Metric& m : metrics())
    if (m.of_sets != nullptr) all[m.name] = m.of_sets(features, real);
  return all;
}

}  // namespace diffscm
