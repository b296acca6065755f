#include "apps/report/graph_drawing.h"

#include <fmt/format.h>

#include <algorithm>

#include "apps/report/chart.h"
#include "apps/report/layers.h"

namespace diffscm::apps {
namespace {

constexpr double kHeight = 40, kBetween = 54, kGap = 26, kMargin = 16;
constexpr double kMostLean = 14;  // of an edge that passes a row
constexpr double kFont = 13, kSmallFont = 10.5, kPadding = 22, kLeast = 70;
constexpr size_t kLongest = 28;  // characters of a label

size_t characters(const std::string& text) {
  return static_cast<size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

// Cut to kLongest characters.
std::string shortened(const std::string& text) {
  if (characters(text) <= kLongest) return text;
  size_t end = 0;
  for (size_t seen = 0; end < text.size(); ++end)
    if ((static_cast<unsigned char>(text[end]) & 0xc0) != 0x80 && seen++ == kLongest - 2) break;
  return text.substr(0, end) + "..";
}

struct Box {
  std::string title, note;
  double width = 0;
};

// On the safe side, in units of the font's size: capitals are wide.
double width_of(const std::string& text, double font) {
  double width = 0;
  for (const char c : text)
    if ((static_cast<unsigned char>(c) & 0xc0) != 0x80) width += c >= 'A' && c <= 'Z' ? 0.74 : 0.57;
  return width * font;
}

Box box_of(const causal::Node& node, const causal::Setting* setting) {
  Box box{shortened(node.name()), node.kind == causal::NodeKind::categorical
                                      ? fmt::format("{} states", node.attribute.states.size())
                                  : node.kind == causal::NodeKind::continuous ? "number"
                                                                              : name_of(node.kind)};
  if (node.is_latent()) box.note = "latent " + box.note;
  if (setting != nullptr) box.note = shortened("do: " + setting->text);
  box.width = std::max(
      {kLeast, kPadding + width_of(box.title, kFont), kPadding + width_of(box.note, kSmallFont)});
  return box;
}

double top_of(size_t layer) {
  return kMargin + static_cast<double>(layer) * (kHeight + kBetween);
}

std::string draw_box(const causal::Node& node, const Box& box, bool set, double centre,
                     double top) {
  const bool number = node.kind == causal::NodeKind::continuous;
  const char* style = set ? "fill=\"#fde7d9\" stroke=\"#c2410c\" stroke-width=\"2\""
                          : "fill=\"#f6f8fb\" stroke=\"#43546b\" stroke-width=\"1.2\"";
  const auto rectangle = [&](double inset) {
    return fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" rx=\"{:.1f}\" {}{}/>\n",
        centre - box.width / 2 + inset, top + inset, box.width - 2 * inset, kHeight - 2 * inset,
        number ? kHeight / 2 : 4.0, style, node.is_latent() ? " stroke-dasharray=\"4 3\"" : "");
  };
  std::string svg = rectangle(0);
  if (node.kind == causal::NodeKind::image) svg += rectangle(3);
  svg +=
      fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" font-size=\"13\" fill=\"#14202e\">{}</text>\n",
                  centre, top + 17.5, escape_html(box.title));
  svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" font-size=\"10.5\" fill=\"{}\">{}</text>\n",
                     centre, top + 32, set ? "#9a3412" : "#5b6b7f", escape_html(box.note));
  return svg;
}

// How far a bend leans over half a row, to the side to which the edge goes on; upright where it
// turns back. Less than the gap that boxes keep from it.
double lean(double before, double x, double after) {
  if ((x - before) * (after - x) <= 0) return 0;
  const double slope = (after - before) / (2 * (kHeight + kBetween));
  return std::clamp(slope * kHeight / 2, -kMostLean, kMostLean);
}

// From the bottom of the cause through the bends to the top of the effect, upright at both.
std::string draw_edge(double from, size_t from_layer, const std::vector<double>& bends, double to,
                      bool cut) {
  double x = from, y = top_of(from_layer) + kHeight, leaning = 0;
  std::string path = fmt::format("M{:.1f} {:.1f}", x, y);
  const auto curve_to = [&](double to_x, double to_y, double to_leaning) {
    const double middle = (y + to_y) / 2, reach = (to_y - y) / kHeight;
    path += fmt::format(" C{:.1f} {:.1f} {:.1f} {:.1f} {:.1f} {:.1f}", x + leaning * reach, middle,
                        to_x - to_leaning * reach, middle, to_x, to_y);
    x = to_x;
    y = to_y;
    leaning = to_leaning;
  };
  for (size_t k = 0; k < bends.size(); ++k) {
    const double d =
        lean(k == 0 ? from : bends[k - 1], bends[k], k + 1 == bends.size() ? to : bends[k + 1]);
    curve_to(bends[k] - d, y + kBetween, d);
    x += 2 * d;
    y += kHeight;
    path += fmt::format(" L{:.1f} {:.1f}", x, y);
  }
  curve_to(to, y + kBetween - 6, 0);  // the arrow's head ends at the box
  return fmt::format("<path d=\"{}\" {} marker-end=\"url(#{})\"/>\n", path,
                     cut ? "stroke=\"#dc2626\" stroke-dasharray=\"5 4\"" : "stroke=\"#6b7a8d\"",
                     cut ? "cut" : "arrow");
}

std::string arrow(const char* id, const char* colour) {
  return fmt::format(
      "<marker id=\"{}\" viewBox=\"0 0 8 8\" refX=\"2\" refY=\"4\" markerWidth=\"7\" "
      "markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"{}\" stroke=\"none\"/>"
      "</marker>",
      id, colour);
}

}  // namespace

std::string draw_graph(const causal::Graph& graph, const causal::Intervention& intervention) {
  const auto setting_of = [&](size_t i) {
    const auto found = intervention.find(i);
    return found == intervention.end() ? nullptr : &found->second;
  };
  LayeredGraph layered;
  std::vector<Box> boxes;
  for (size_t i = 0; i < graph.size(); ++i) {
    boxes.push_back(box_of(graph[i], setting_of(i)));
    layered.widths.push_back(boxes.back().width);
    for (const size_t p : graph.parents(i)) layered.edges.emplace_back(p, i);
  }
  const Layout layout = lay_out(layered, kGap);
  const double width = layout.width + 2 * kMargin;
  const double height = top_of(layout.layers) - kBetween + kMargin;
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" "
      "height=\"{1:.0f}\" font-family=\"Helvetica, Arial, sans-serif\" text-anchor=\"middle\">\n"
      "<title>{2}</title>\n<defs>{3}{4}</defs>\n<rect width=\"100%\" height=\"100%\" "
      "fill=\"#ffffff\"/>\n<g fill=\"none\" stroke-width=\"1.3\">\n",
      width, height, escape_html(graph.name().empty() ? "causal graph" : graph.name()),
      arrow("arrow", "#6b7a8d"), arrow("cut", "#dc2626"));
  for (size_t e = 0; e < layered.edges.size(); ++e) {
    const auto [from, to] = layered.edges[e];
    std::vector<double> bends = layout.bends[e];
    for (double& x : bends) x += kMargin;
    const causal::Setting* setting = setting_of(to);
    const bool cut = setting != nullptr && !setting->uses_natural;
    svg += draw_edge(layout.centre[from] + kMargin, layout.layer[from], bends,
                     layout.centre[to] + kMargin, cut);
  }
  svg += "</g>\n";
  for (size_t i = 0; i < graph.size(); ++i)
    svg += draw_box(graph[i], boxes[i], setting_of(i) != nullptr, layout.centre[i] + kMargin,
                    top_of(layout.layer[i]));
  return svg + "</svg>\n";
}

}  // namespace diffscm::apps
