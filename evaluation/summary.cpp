#include "evaluation/summary.h"

#include <algorithm>
#include <cmath>

#include "evaluation/metrics/interval.h"

namespace diffscm {
namespace {

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v;
  return values.empty() ? std::nan("") : sum / static_cast<double>(values.size());
}

// With n - 1; NaN below two values.
double deviation_of(const std::vector<double>& values) {
  if (values.size() < 2) return std::nan("");
  const double mean = mean_of(values);
  double sum = 0;
  for (const double v : values) sum += (v - mean) * (v - mean);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

std::string number(double value) {
  return std::isfinite(value) ? fmt::format("{:.9g}", value) : "";
}

}  // namespace

double Statistic::uncertainty() const {
  return std::isfinite(spread) ? spread : half_width;
}

const Statistic* ArmSummary::find(const std::string& name) const {
  const auto found = metrics.find(metric(name).name);
  return found == metrics.end() ? nullptr : &found->second;
}

Statistic statistic(const std::vector<Record>& records, const std::string& arm,
                    const std::string& name) {
  std::vector<double> all;
  std::map<int, std::vector<double>> by_repeat;
  for (const Record& r : records) {
    const auto value = r.metrics.find(metric(name).name);
    if (r.arm != arm || value == r.metrics.end() || std::isnan(value->second)) continue;
    all.push_back(value->second);
    by_repeat[r.trial.repeat].push_back(value->second);
  }
  std::vector<double> means;
  for (const auto& [repeat, values] : by_repeat) means.push_back(mean_of(values));
  const MeanInterval interval = mean_with_interval(all);
  return {interval.mean, deviation_of(means), interval.half_width, interval.count};
}

std::vector<ArmSummary> summarise(const std::vector<Record>& records,
                                  const std::vector<Arm>& arms) {
  std::vector<ArmSummary> summaries;
  for (const Arm& arm : arms) {
    ArmSummary s{arm, {}};
    s.failed = std::count_if(records.begin(), records.end(),
                             [&](const Record& r) { return r.arm == arm.name && r.failed; });
    for (const Metric& m : metrics())
      if (const Statistic value = statistic(records, arm.name, m.name); value.count > 0)
        s.metrics[m.name] = value;
    summaries.push_back(std::move(s));
  }
  return summaries;
}

std::string to_csv(const std::vector<ArmSummary>& summaries) {
  std::string csv = "arm,metric,mean,spread,half_width,count\n";
  for (const ArmSummary& s : summaries)
    for (const auto& [name, value] : s.metrics)
      csv += fmt::format("{},{},{},{},{},{}\n", s.arm.name, name, number(value.mean),
                         number(value.spread), number(value.half_width), value.count);
  return csv;
}

nlohmann::ordered_json to_json(const std::vector<ArmSummary>& summaries) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const ArmSummary& s : summaries) {
    nlohmann::ordered_json arm = {
        {"arm", s.arm.name}, {"title", s.arm.title}, {"options", s.arm.options}};
    if (s.failed > 0) arm["failed"] = s.failed;
    for (const auto& [name, value] : s.metrics)
      arm["metrics"][name] = {{"mean", value.mean},
                              {"spread", value.spread},
                              {"half_width", value.half_width},
                              {"count", value.count}};
    json.push_back(arm);
  }
  return json;
}

std::vector<std::string> failure_notes(const std::vector<ArmSummary>& summaries) {
  std::vector<std::string> notes;
  for (const ArmSummary& s : summaries)
    if (s.failed > 0)
      notes.push_back(
          fmt::format("{}: {} {} failed, with pixels that are not finite; its metrics "
                      "are of the others.",
                      s.arm.name, s.failed, s.failed == 1 ? "image" : "images"));
  return notes;
}

std::string to_table(const std::vector<ArmSummary>& summaries,
                     const std::vector<std::string>& names) {
  size_t first = 6;
  for (const ArmSummary& s : summaries) first = std::max(first, s.arm.name.size());
  std::string table = fmt::format("{:<{}}", "method", first);
  for (const std::string& name : names) table += fmt::format("  {:>16}", metric(name).title);
  for (const ArmSummary& s : summaries) {
    table += fmt::format("\n{:<{}}", s.arm.name, first);
    for (const std::string& name : names) {
      const Statistic* value = s.find(name);
      table += fmt::format("  {:>16}", value ? to_text(*value, metric(name), " +- ") : "-");
    }
  }
  return table + "\n";
}

std::string to_text(const Statistic& value, const Metric& metric, const char* plus_minus) {
  std::string text = fmt::format("{:.{}f}", value.mean, metric.decimals);
  if (metric.better != 0 && std::isfinite(value.uncertainty()))
    text += fmt::format("{}{:.{}f}", plus_minus, value.uncertainty(), metric.decimals);
  return text;
}

int best_arm(const std::vector<ArmSummary>& summaries, const std::string& name) {
  int best = -1;
  double least = INFINITY;
  for (size_t i = 0; i < summaries.size(); ++i) {
    const Statistic* value = summaries[i].find(name);
    if (value == nullptr || !(value->mean < least)) continue;
    least = value->mean;
    best = static_cast<int>(i);
  }
  return best;
}

}  // namespace diffscm
