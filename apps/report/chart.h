// Line charts with error bars as SVG, without any script.
#pragma once

#include <string>
#include <vector>

namespace diffscm::apps {

struct ChartSeries {
  std::string name;
  std::vector<double> x, y;
  std::vector<double> error;  // half-widths, or empty
  bool line = true;           // false: points only, each labelled with `labels`
  bool dashed = false;
  std::vector<std::string> labels;
};

struct Chart {
  std::string title, x_label, y_label;
  std::vector<ChartSeries> series;
  struct Mark {
    double x;
    std::string label;
  };
  std::vector<Mark> marks;  // vertical lines
};

// A complete <svg> element, 640 x 380 units, that scales with its container. Points that are not
// finite are left out. Throws Error when nothing finite is left.
std::string to_svg(const Chart& chart);

// &, <, > and quotes as entities.
std::string escape_html(const std::string& text);

}  // namespace diffscm::apps
