// The page that an experiment's folder becomes: settings, tables, curves, pictures, failures.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/io/grid.h"
#include "evaluation/gradient_agreement.h"
#include "evaluation/summary.h"

namespace diffscm::apps {

// Rows of pictures, filled by the command: the report only places them.
struct PictureBlock {
  std::string heading, caption;
  std::vector<io::GridRow> rows;
  std::vector<std::string> columns;
};

struct ReportInput {
  std::string title, introduction;
  std::vector<std::pair<std::string, std::string>> facts;  // settings, device, models
  std::vector<ArmSummary> summaries;
  std::vector<std::string> metrics;   // columns of the table, names of evaluation/metrics/table.h
  std::vector<std::string> controls;  // arms that are shown but never "best"
  std::string sort_by = "cld";
  bool swept = false;                        // arms are scales: options["scale"] is the x axis
  std::vector<std::string> notes;            // what to read out of it, one paragraph each
  std::vector<ArmSummary> samples;           // rows of evaluation/sample_quality.h, or empty
  std::vector<GradientAgreement> agreement;  // by noise level, or empty
  std::vector<PictureBlock> pictures;
  std::vector<std::string> failures;  // one line each
  int64_t failures_in_all = 0;
};

// The paper's curve of CLD against s, read off its figure (Sanchez & Tsaftaris 2022; reading error
// about 0.003): scale, CLD.
const std::vector<std::pair<double, double>>& paper_cld_curve();

// OUT/report.html, OUT/curves/*.svg (swept) and OUT/pictures/*.png, each all or nothing.
void write_report(const std::filesystem::path& out, const ReportInput& input);

}  // namespace diffscm::apps
