// Line charts with error bars as SVG, without any script.
#pragma once

#include <limits>
#include <string>
#include <vector>

namespace diffscm::apps {

struct ChartSeries {
  std::string name;
  std::vector<double> x, y;
  std::vector<double> error;  // half-widths, or empty
  bool line = true;           // false: points only
  bool dashed = false;
  std::vector<std::string> labels;  // of points, written beside them, or empty
};

struct Chart {
  std::string title, x_label, y_label;
  std::vector<ChartSeries> series;
  struct Mark {
    double x;
    std::string label;
  };
  std::vector<Mark> marks;  // vertical lines
  // What y can be at all: the axis and the error bars end there (a share is in [0, 1]).
  double y_low = -std::numeric_limits<double>::infinity();
  double y_high = std::numeric_limits<double>::infinity();
};

// A complete <svg> element, 640 units wide, that scales with its container. Points that are not
// finite are left out. Throws Error when nothing finite is left.
std::string to_svg(const Chart& chart);

// &, <, > and quotes as entities.
std::string escape_html(const std::string& text);

}  // namespace diffscm::apps
