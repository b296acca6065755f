#include "apps/report/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/report/labels.h"
#include "kernels/error.h"

namespace diffscm::apps {
namespace {

constexpr double kWidth = 640, kHeight = 380;
constexpr double kLeft = 64, kRight = 16, kTop = 36, kBottom = 84;  // kBottom: with the legend
constexpr double kLegend = 34;
constexpr double kCharacter = 7;  // width, on the safe side, at 12 units
constexpr const char* kColours[] = {"#1f5fa8", "#c2410c", "#15803d", "#7c3aed",
                                    "#b91c6b", "#4b5563", "#a16207", "#0e7490"};

struct Axis {
  double low = INFINITY, high = -INFINITY, step = 1;

  void include(double v) {
    if (!std::isfinite(v)) return;
    low = std::min(low, v);
    high = std::max(high, v);
  }
  // Ends on round numbers: steps of 1, 2 or 5 times a power of ten, about six of them.
  void round(double least = -INFINITY, double most = INFINITY) {
    if (high - low < 1e-9 * std::max(1.0, std::abs(high))) {
      const double room = std::max(0.5, 0.1 * std::abs(high));
      low -= room;
      high += room;
    }
    const double rough = (high - low) / 6;
    const double power = std::pow(10, std::floor(std::log10(rough)));
    for (const double factor : {1.0, 2.0, 5.0, 10.0}) {
      step = factor * power;
      if (step >= rough) break;
    }
    low = std::floor(low / step + 1e-9) * step;
    high = std::ceil(high / step - 1e-9) * step;
    low = std::max(low, least);
    high = std::min(high, most);
  }
  // Of the numbers written at it, which are multiples of the step.
  double first() const { return std::ceil(low / step - 1e-9) * step + 0.0; }
  int decimals() const {
    return std::max(0, static_cast<int>(std::ceil(-std::log10(step) - 1e-9)));
  }
};

class Drawing {
 public:
  explicit Drawing(const Chart& chart) : chart_(chart) {
    for (const ChartSeries& s : chart.series)
      for (size_t i = 0; i < s.x.size(); ++i) {
        if (!std::isfinite(s.x[i]) || !std::isfinite(s.y[i])) continue;
        x_.include(s.x[i]);
        const double e = i < s.error.size() && std::isfinite(s.error[i]) ? s.error[i] : 0;
        y_.include(bounded(s.y[i] - e));
        y_.include(bounded(s.y[i] + e));
      }
    require(std::isfinite(x_.low) && std::isfinite(y_.low), "chart '{}' has no finite point",
            chart.title);
    x_.round();
    y_.round(chart.y_low, chart.y_high);
  }

  std::string svg() {
    out_ = fmt::format(
        "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\" "
        "xmlns=\"http://www.w3.org/2000/svg\" font-family=\"system-ui, sans-serif\" "
        "font-size=\"12\">\n",
        kWidth, has_legend() ? kHeight : kHeight - kLegend, escape_html(chart_.title));
    out_ += fmt::format("<text x=\"{}\" y=\"18\" font-size=\"14\" font-weight=\"600\">{}</text>\n",
                        kLeft, escape_html(chart_.title));
    axes();
    marks();
    for (size_t i = 0; i < chart_.series.size(); ++i)
      series(chart_.series[i], kColours[i % std::size(kColours)]);
    labels();
    legend();
    return out_ + "</svg>\n";
  }

 private:
  bool has_legend() const { return std::ranges::any_of(chart_.series, in_legend); }
  static bool in_legend(const ChartSeries& s) { return !s.name.empty() && s.line; }
  double bounded(double y) const { return std::clamp(y, chart_.y_low, chart_.y_high); }
  double px(double x) const {
    return kLeft + (x - x_.low) / (x_.high - x_.low) * (kWidth - kLeft - kRight);
  }
  double py(double y) const {
    return kHeight - kBottom - (y - y_.low) / (y_.high - y_.low) * (kHeight - kTop - kBottom);
  }
  void line(double x0, double y0, double x1, double y1, const char* style) {
    out_ += fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" {}/>\n", x0,
                        y0, x1, y1, style);
  }
  void text(double x, double y, const std::string& words, const char* style) {
    out_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" {}>{}</text>\n", x, y, style,
                        escape_html(words));
  }

  void axes() {
    const char* grid = "stroke=\"#d9dde3\" stroke-width=\"1\"";
    for (double v = y_.first(); v <= y_.high + 1e-9 * y_.step; v += y_.step) {
      line(kLeft, py(v), kWidth - kRight, py(v), grid);
      text(kLeft - 10, py(v) + 4, fmt::format("{:.{}f}", v, y_.decimals()),
           "text-anchor=\"end\" fill=\"#4b5563\"");
    }
    for (double v = x_.first(); v <= x_.high + 1e-9 * x_.step; v += x_.step) {
      line(px(v), kHeight - kBottom, px(v), kHeight - kBottom + 4, "stroke=\"#4b5563\"");
      text(px(v), kHeight - kBottom + 18, fmt::format("{:.{}f}", v, x_.decimals()),
           "text-anchor=\"middle\" fill=\"#4b5563\"");
    }
    line(kLeft, kHeight - kBottom, kWidth - kRight, kHeight - kBottom, "stroke=\"#4b5563\"");
    text(0.5 * (kLeft + kWidth - kRight), kHeight - kBottom + 36, chart_.x_label,
         "text-anchor=\"middle\"");
    const double middle = 0.5 * (kTop + kHeight - kBottom);
    out_ += fmt::format(
        "<text transform=\"translate(16 {:.1f}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
        middle, escape_html(chart_.y_label));
  }

  void marks() {
    for (const Chart::Mark& m : chart_.marks) {
      line(px(m.x), kTop, px(m.x), kHeight - kBottom,
           "stroke=\"#9aa1ab\" stroke-dasharray=\"3 4\"");
      const bool right = px(m.x) > 0.6 * kWidth;  // keep the words inside
      text(px(m.x) + (right ? -4 : 4), kTop + 10, m.label,
           right ? "text-anchor=\"end\" fill=\"#4b5563\"" : "fill=\"#4b5563\"");
    }
  }

  void series(const ChartSeries& s, const char* colour) {
    std::string path;
    for (size_t i = 0; i < s.x.size(); ++i) {
      if (!std::isfinite(s.x[i]) || !std::isfinite(s.y[i])) continue;
      const double x = px(s.x[i]), y = py(s.y[i]);
      path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : " L", x, y);
      if (i < s.error.size() && std::isfinite(s.error[i]) && s.error[i] > 0) {
        const double top = py(bounded(s.y[i] + s.error[i])),
                     bottom = py(bounded(s.y[i] - s.error[i]));
        const std::string stroke = fmt::format("stroke=\"{}\" stroke-width=\"1.2\"", colour);
        line(x, top, x, bottom, stroke.c_str());
        line(x - 3, top, x + 3, top, stroke.c_str());
        line(x - 3, bottom, x + 3, bottom, stroke.c_str());
        marks_.push_back({x - 3, top, x + 3, bottom});
      }
      out_ += fmt::format(
          "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\" fill=\"{}\"><title>{}: {:g}, {:g}</title>"
          "</circle>\n",
          x, y, s.line ? 3 : 5, colour, escape_html(s.name), s.x[i], s.y[i]);
      marks_.push_back({x - 6, y - 6, x + 6, y + 6});
      if (i < s.labels.size()) {
        names_.push_back(s.labels[i]);
        anchors_.push_back({x, y, kCharacter * static_cast<double>(s.labels[i].size()) + 4});
      }
    }
    if (s.line)
      out_ += fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"{}/>\n",
                          path, colour, s.dashed ? " stroke-dasharray=\"6 5\"" : "");
  }

  // With a thin line to the point where there was no room beside it.
  void labels() {
    const std::vector<Box> boxes =
        place_labels(anchors_, 16, marks_, {kLeft, kTop, kWidth - 2, kHeight - kBottom - 2});
    for (size_t i = 0; i < boxes.size(); ++i) {
      const Box& box = boxes[i];
      const Leader leader(anchors_[i], box);
      if (leader.length() > 14)
        line(leader.x0, leader.y0, leader.x1, leader.y1, "stroke=\"#9aa1ab\" stroke-width=\"0.8\"");
      text(0.5 * (box.left + box.right), box.bottom - 4, names_[i],
           "text-anchor=\"middle\" fill=\"#1f2430\"");
    }
  }

  void legend() {
    double x = kLeft;
    const double y = kHeight - 16;
    for (size_t i = 0; i < chart_.series.size(); ++i) {
      const ChartSeries& s = chart_.series[i];
      if (!in_legend(s)) continue;
      const std::string style =
          fmt::format("stroke=\"{}\" stroke-width=\"2\"{}", kColours[i % std::size(kColours)],
                      s.dashed ? " stroke-dasharray=\"6 5\"" : "");
      line(x, y - 4, x + 24, y - 4, style.c_str());
      text(x + 30, y, s.name, "");
      x += 46 + kCharacter * static_cast<double>(s.name.size());
    }
  }

  const Chart& chart_;
  Axis x_, y_;
  std::vector<Box> marks_;  // what labels should not cover
  std::vector<LabelAnchor> anchors_;
  std::vector<std::string> names_;  // of the anchors
  std::string out_;
};

}  // namespace

std::string escape_html(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string to_svg(const Chart& chart) {
  return Drawing(chart).svg();
}

}  // namespace diffscm::apps
