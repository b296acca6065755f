// From one line per image to tables: means, their spread, and what the numbers mean.
#pragma once

#include <string>
#include <vector>

#include "evaluation/experiment.h"

namespace diffscm {

struct Statistic {
  double mean = 0;        // over all images; of metrics of sets: the value
  double spread = 0;      // standard deviation over the repeats' means; NaN with one repeat
  double half_width = 0;  // of the 95% confidence interval of the mean, over images; NaN if unknown
  int64_t count = 0;      // images that have the metric

  // What stands behind +-: the spread, or with one repeat the half-width.
  double uncertainty() const;
};

struct ArmSummary {
  Arm arm;
  std::map<std::string, Statistic> metrics;
  int64_t failed = 0;  // images that are not finite, and that no metric of images counts

  // Null when this arm has no such number. Throws Error for what is no metric.
  const Statistic* find(const std::string& name) const;
};

// Mean, spread over repeats (as Schut et al. 2021 report) and Student's confidence interval per
// metric and arm. NaN values count as missing.
Statistic statistic(const std::vector<Record>& records, const std::string& arm,
                    const std::string& name);
std::vector<ArmSummary> summarise(const std::vector<Record>& records, const std::vector<Arm>& arms);

// Rows "arm,metric,mean,spread,half_width,count"; numbers with 9 digits, missing ones empty.
std::string to_csv(const std::vector<ArmSummary>& summaries);
nlohmann::ordered_json to_json(const std::vector<ArmSummary>& summaries);
// "0.933 +- 0.029" with the metric's decimals; the mean alone where the second is unknown, or the
// metric is neither good nor bad.
std::string to_text(const Statistic& value, const Metric& metric, const char* plus_minus);
// For people: one sentence per arm with failed images.
std::vector<std::string> failure_notes(const std::vector<ArmSummary>& summaries);
// A table for a terminal: arms down, metrics across, "mean +- spread".
std::string to_table(const std::vector<ArmSummary>& summaries,
                     const std::vector<std::string>& metrics);

// The arm with the smallest mean of a metric; -1 when no arm has it.
int best_arm(const std::vector<ArmSummary>& summaries, const std::string& name);

}  // namespace diffscm
