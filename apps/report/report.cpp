#include "apps/report/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/report/chart.h"
#include "apps/report/document.h"
#include "engine/io/file.h"

namespace diffscm::apps {
namespace {

namespace fs = std::filesystem;

bool is_control(const ReportInput& input, const ArmSummary& s) {
  return std::count(input.controls.begin(), input.controls.end(), s.arm.name) > 0;
}

// Only columns that some row has; `ranked`: sorted, and the best of each column marked.
Table results_table(const ReportInput& input, const std::vector<ArmSummary>& summaries,
                    bool ranked) {
  std::vector<const ArmSummary*> rows;
  for (const ArmSummary& s : summaries) rows.push_back(&s);
  if (ranked && !input.swept)
    std::stable_sort(rows.begin(), rows.end(), [&](const ArmSummary* a, const ArmSummary* b) {
      const Statistic *x = a->find(input.sort_by), *y = b->find(input.sort_by);
      if (x == nullptr || y == nullptr) return x != nullptr;
      return x->mean < y->mean;
    });
  Table table;
  for (const ArmSummary* s : rows) table.rows.push_back({s->arm.title, {}});
  for (const std::string& name : input.metrics) {
    const bool any = std::any_of(rows.begin(), rows.end(),
                                 [&](const ArmSummary* s) { return s->find(name) != nullptr; });
    if (!any) continue;
    const Metric& m = metric(name);
    const std::string unit = *m.unit ? fmt::format(" ({})", m.unit) : "";
    table.columns.push_back({m.title + unit, m.meaning, m.better});
    double best = std::nan("");
    for (const ArmSummary* s : rows) {
      const Statistic* value = s->find(name);
      if (value == nullptr || !ranked || m.better == 0 || is_control(input, *s)) continue;
      if (!(m.better * value->mean <= m.better * best)) best = value->mean;
    }
    for (size_t r = 0; r < rows.size(); ++r) {
      const Statistic* value = rows[r]->find(name);
      TableCell cell{"–", false};
      if (value != nullptr)
        cell = {to_text(*value, m, " ± "), value->mean == best && !is_control(input, *rows[r])};
      table.rows[r].second.push_back(std::move(cell));
    }
  }
  return table;
}

ChartSeries curve(const ReportInput& input, const std::string& metric, const std::string& title) {
  ChartSeries series{.name = title, .x = {}, .y = {}, .error = {}, .labels = {}};
  for (const ArmSummary& s : input.summaries) {
    const Statistic* value = s.find(metric);
    if (value == nullptr || !s.arm.options.contains("scale")) continue;
    series.x.push_back(s.arm.options["scale"].get<double>());
    series.y.push_back(value->mean);
    series.error.push_back(value->half_width);
  }
  return series;
}

// name -> chart
std::vector<std::pair<std::string, Chart>> sweep_charts(const ReportInput& input) {
  std::vector<std::pair<std::string, Chart>> charts;
  const int best = best_arm(input.summaries, "cld");
  std::vector<Chart::Mark> marks;
  if (best >= 0) {
    const double s =
        input.summaries[static_cast<size_t>(best)].arm.options.value("scale", std::nan(""));
    if (std::isfinite(s)) marks.push_back({s, fmt::format("smallest CLD: s = {:g}", s)});
  }
  ChartSeries paper{.name = "paper, read off its figure",
                    .x = {},
                    .y = {},
                    .error = {},
                    .dashed = true,
                    .labels = {}};
  for (const auto& [s, cld] : paper_cld_curve()) {
    paper.x.push_back(s);
    paper.y.push_back(cld);
  }
  charts.push_back({"cld", Chart{"Counterfactual Latent Divergence against the guidance scale",
                                 "guidance scale s",
                                 "CLD (lower is better)",
                                 {curve(input, "cld", "this run"), paper},
                                 marks,
                                 metric("cld").low,
                                 metric("cld").high}});
  charts.push_back({"flips", Chart{"Who sees the target class",
                                   "guidance scale s",
                                   "share of images",
                                   {curve(input, "oracle_flip", "oracle"),
                                    curve(input, "guide_flip", "guiding classifier"),
                                    curve(input, "disagree", "disagreement")},
                                   marks,
                                   metric("oracle_flip").low,
                                   metric("oracle_flip").high}});
  charts.push_back({"l1", Chart{"Distance to the factual image",
                                "guidance scale s",
                                "mean |difference|, grey levels",
                                {curve(input, "l1", "to the factual"),
                                 curve(input, "truth_l1", "to the true counterfactual")},
                                marks,
                                metric("l1").low,
                                metric("l1").high}});
  return charts;
}

// Each method as a point: what the intervention gains against what it costs.
Chart trade_off(const ReportInput& input) {
  Chart chart{"Effect against cost",
              "L1 to the factual, grey levels",
              "share the oracle sees as the target",
              {},
              {},
              metric("oracle_flip").low,
              metric("oracle_flip").high};
  for (const ArmSummary& s : input.summaries) {
    const Statistic *l1 = s.find("l1"), *flip = s.find("oracle_flip");
    if (l1 == nullptr || flip == nullptr) continue;
    chart.series.push_back({.name = s.arm.title,
                            .x = {l1->mean},
                            .y = {flip->mean},
                            .error = {flip->uncertainty()},
                            .line = false,
                            .labels = {s.arm.name}});
  }
  return chart;
}

Table agreement_table(const std::vector<GradientAgreement>& levels) {
  const auto cell = [](const MeanInterval& m) {
    return TableCell{fmt::format("{:.3f} ± {:.3f}", m.mean, m.half_width)};
  };
  Table table{{{"alpha bar", "share of the image's variance that is left", 0},
               {"cosine", "of the angle between the two gradients: 1 is agreement", 0},
               {"ratio", "length of the classifier's over that of the implied: 1 is agreement", 0}},
              {}};
  for (const GradientAgreement& level : levels)
    table.rows.push_back({fmt::format("t = {}", level.timestep),
                          {TableCell{fmt::format("{:.5f}", level.alpha_bar)}, cell(level.cosine),
                           cell(level.ratio)}});
  return table;
}

std::string file_name(std::string heading) {
  for (char& c : heading) c = std::isalnum(static_cast<unsigned char>(c)) ? std::tolower(c) : '-';
  return heading;
}

}  // namespace

const std::vector<std::pair<double, double>>& paper_cld_curve() {
  static const std::vector<std::pair<double, double>> curve = {
      {0.0, 1.313}, {0.2, 1.257}, {0.4, 1.146}, {0.6, 1.073}, {0.7, 1.063},
      {0.8, 1.061}, {1.0, 1.066}, {1.5, 1.093}, {2.0, 1.113}, {3.0, 1.118}};
  return curve;
}

void write_report(const fs::path& out, const ReportInput& input) {
  Document page(input.title);
  page.paragraph(input.introduction);
  page.facts(input.facts);

  page.section("Results");
  for (const std::string& note : input.notes) page.paragraph(note);
  page.table(results_table(input, input.summaries, /*ranked=*/true));
  fs::create_directories(out / "curves");
  const auto chart = [&](const std::string& name, const Chart& c, const std::string& caption) {
    Chart shown = c;
    std::erase_if(shown.series, [](const ChartSeries& s) { return s.x.empty(); });
    if (shown.series.empty()) return;
    const std::string svg = to_svg(shown);
    io::atomic_write(out / "curves" / (name + ".svg"), svg);
    page.svg(svg, caption);
  };
  if (input.swept) {
    for (const auto& [name, c] : sweep_charts(input))
      chart(name, c, "Bars: 95% confidence interval of the mean over images.");
  } else {
    chart("trade-off", trade_off(input),
          "Up and to the left is better. Bars: standard deviation over repeats.");
  }

  if (!input.samples.empty()) {
    page.section("Samples");
    page.paragraph(
        "Samples of the diffusion model, told nothing and, where it can be, told the parents of "
        "training images, against the test set. Distances of finite sets are "
        "not 0 even for real images: as many training images show what is within reach.");
    page.table(results_table(input, input.samples, /*ranked=*/false));
  }

  if (!input.agreement.empty()) {
    page.section("Do classifier and conditional model agree?");
    page.paragraph(
        "The gradient of the guiding classifier against the one that the conditional model implies "
        "by Bayes' rule, towards the target class, by noise level. Where they part, at least one "
        "of "
        "the networks is wrong. ±: 95% confidence interval over images.");
    page.table(agreement_table(input.agreement));
  }

  fs::create_directories(out / "pictures");
  for (const PictureBlock& block : input.pictures) {
    page.section(block.heading);
    page.images(block.rows, block.columns, block.caption);
    io::write_grid(out / "pictures" / (file_name(block.heading) + ".png"), block.rows,
                   {.title = block.heading, .columns = block.columns});
  }

  page.section("Failures");
  if (input.failures_in_all == 0) page.paragraph("None.");
  if (input.failures_in_all > static_cast<int64_t>(input.failures.size()))
    page.paragraph(fmt::format("{} in all; the first {} are listed, every one is in records/.",
                               input.failures_in_all, input.failures.size()));
  for (const std::string& line : input.failures) page.paragraph(line);
  io::atomic_write(out / "report.html", page.html());
}

}  // namespace diffscm::apps
