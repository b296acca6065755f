#include <algorithm>

#include "evaluation/summary.h"

namespace diffscm {

const std::vector<MetricInfo>& metric_table() {
  static const std::vector<MetricInfo> table = {
      {"cld", "CLD", "", -1, 3,
       "Counterfactual Latent Divergence: small when the image is as far from the factual as "
       "the factual's own class, and no further than the nearest of the target class. No change "
       "at all gives 1.313."},
      {"oracle_flip", "oracle flips", "", +1, 3,
       "Share of images that a classifier with no part in making them sees as the target."},
      {"guide_flip", "guide flips", "", +1, 3,
       "Share of images that the guiding classifier sees as the target."},
      {"disagree", "disagreement", "", -1, 3,
       "Share of images the guide calls the target and the oracle does not: adversarial flips."},
      {"oracle_p_target", "p(target)", "", +1, 3, "The oracle's probability of the target."},
      {"l1", "L1", "grey levels", -1, 2, "Mean absolute change of a pixel, 0 to 255."},
      {"l0", "L0", "", -1, 3, "Share of pixels changed by more than the threshold."},
      {"im1", "IM1", "", -1, 3,
       "Reconstruction error of the target class's autoencoder over that of the factual class's: "
       "below 1, the image belongs to the target."},
      {"im2", "IM2 x 100", "", -1, 3,
       "Disagreement of the target class's and the all-class autoencoder, times 100."},
      {"truth_l1", "L1 to truth", "grey levels", -1, 2,
       "Distance to the true counterfactual: same noise, other class. Known for generated data "
       "only."},
      {"factual_truth_l1", "factual to truth", "grey levels", 0, 2,
       "What doing nothing would score."},
      {"composition_1", "composition 1", "grey levels", -1, 3,
       "L1 to the factual after one null intervention."},
      {"composition_10", "composition 10", "grey levels", -1, 3,
       "L1 to the factual after ten null interventions."},
      {"reversibility", "reversibility", "grey levels", -1, 2,
       "L1 to the factual after the intervention and the one that undoes it."},
      {"frechet", "Frechet", "", -1, 2,
       "Frechet distance to real images of the target classes, on the oracle's features (not "
       "FID)."},
      {"mmd", "MMD x 100", "", -1, 3,
       "Squared kernel distance to real images of the target classes, on the oracle's features, "
       "times 100."},
      {"residual", "residual", "grey levels", -1, 3, "Worst residual of the abduction."},
      {"evaluations", "U-Net calls", "", 0, 0, "Evaluations of the diffusion model per image."},
      {"gradients", "gradients", "", 0, 0, "Gradients of a classifier per image."},
      {"seconds", "seconds", "s", 0, 2, "Time per image where this was run."},
  };
  return table;
}

const MetricInfo* find_metric(const std::string& key) {
  const auto& table = metric_table();
  const auto found = std::find_if(table.begin(), table.end(),
                                  [&](const MetricInfo& info) { return info.key == key; });
  return found == table.end() ? nullptr : &*found;
}

}  // namespace diffscm
