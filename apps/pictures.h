// The pictures of a report, taken from an experiment's folder.
#pragma once

#include "apps/evaluation.h"

namespace diffscm::apps {

// The first trials: the factual images and one row per arm.
PictureBlock side_by_side(const Evaluation& evaluation, const std::vector<ArmSummary>& arms,
                          int64_t count);

// The first samples, `across` in a row.
PictureBlock sample_sheet(const SampleSet& samples, int64_t count, int64_t across);

// Trials with the smallest, the middle and the largest value of a metric: factual, counterfactual,
// signed difference.
PictureBlock best_median_worst(const Evaluation& evaluation, const Arm& arm,
                               const std::string& metric, int64_t each);

// Diff-SCM's abduction upwards and prediction downwards, at its first scale, for the first `count`
// trials, at `frames` levels of the chain.
PictureBlock film_strip(const Evaluation& evaluation, const DiffScmOptions& method, int64_t count,
                        int frames);

// Lists what went wrong with an arm: the oracle sees another class, the abduction did not converge.
void list_failures(const Evaluation& evaluation, const Arm& arm, ReportInput& input);

}  // namespace diffscm::apps
