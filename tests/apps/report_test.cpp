// The report's charts and tables: the right numbers in the right places.
#include "apps/report/report.h"

#include <gtest/gtest.h>

#include <regex>

#include "apps/report/chart.h"
#include "apps/report/labels.h"
#include "tests/engine/io_testing.h"

namespace diffscm::apps {
namespace {

using testing::expect_error;
using testing::get;
using testing::TemporaryFolder;

// The first group of every match.
std::vector<std::string> all(const std::string& text, const std::string& pattern) {
  const std::regex regex(pattern);
  std::vector<std::string> found;
  for (std::sregex_iterator at(text.begin(), text.end(), regex), end; at != end; ++at)
    found.push_back((*at)[1]);
  return found;
}

// The plot is 560 x 260 units, its upper left corner at (64, 36).
TEST(Chart, PutsPointsAndErrorBarsWhereTheyBelong) {
  const std::string svg = to_svg(
      {.title = "a < b",
       .x_label = "x",
       .y_label = "y",
       .series =
           {{.name = "s", .x = {0, 5, 10}, .y = {0, 50, 100}, .error = {0, 25, 0}, .labels = {}}},
       .marks = {}});
  EXPECT_EQ(all(svg, "cx=\"([0-9.]+)\""), (std::vector<std::string>{"64.0", "344.0", "624.0"}));
  EXPECT_EQ(all(svg, "cy=\"([0-9.]+)\""), (std::vector<std::string>{"296.0", "166.0", "36.0"}));
  EXPECT_NE(svg.find("x1=\"344.0\" y1=\"101.0\" x2=\"344.0\" y2=\"231.0\""), std::string::npos);
  EXPECT_NE(svg.find("d=\"M64.0 296.0 L344.0 166.0 L624.0 36.0\""), std::string::npos);
  EXPECT_NE(svg.find("a &lt; b"), std::string::npos);
}

TEST(Chart, LeavesOutWhatIsNotFinite) {
  Chart chart{.title = "t", .x_label = "", .y_label = "", .series = {}, .marks = {}};
  chart.series.push_back(
      {.name = "s", .x = {0, 1, NAN, 2}, .y = {0, NAN, 1, 4}, .error = {NAN}, .labels = {}});
  EXPECT_EQ(all(to_svg(chart), "(<circle)").size(), 2u);
  chart.series[0].y = {NAN, NAN, NAN, INFINITY};
  expect_error([&] { to_svg(chart); }, "no finite point");
}

TEST(Chart, SharesEndAtOne) {
  Chart chart{.title = "t", .x_label = "", .y_label = "", .series = {}, .marks = {}};
  chart.series.push_back({.name = "s",
                          .x = {0, 1},
                          .y = {0.1, 0.97},
                          .error = {0.3, 0.3},
                          .line = false,
                          .labels = {}});
  chart.y_low = 0;
  chart.y_high = 1;
  const std::string svg = to_svg(chart);
  const auto ticks = all(svg, "text-anchor=\"end\" fill=\"#4b5563\">(-?[0-9.]+)<");
  EXPECT_EQ(ticks, (std::vector<std::string>{"0.0", "0.2", "0.4", "0.6", "0.8", "1.0"}));
  EXPECT_NE(svg.find("x1=\"624.0\" y1=\"36.0\" x2=\"624.0\" y2="), std::string::npos)
      << "the bar ends at 1";
  for (const std::string& y : all(svg, " y[12]=\"([0-9.]+)\"")) {
    EXPECT_GE(std::stod(y), 36);
    EXPECT_LE(std::stod(y), 300);
  }
}

// Where points lie on each other, as those of similar methods do.
TEST(Labels, NeitherOverlapNorLeaveTheFrame) {
  const Box frame{0, 0, 560, 260};
  std::vector<LabelAnchor> anchors;
  std::vector<Box> marks;
  for (int i = 0; i < 8; ++i) {
    anchors.push_back({500.0 + i, 12.0 + (i % 3), 70.0 + 5 * i});
    marks.push_back(
        {anchors.back().x - 6, anchors.back().y - 6, anchors.back().x + 6, anchors.back().y + 6});
  }
  const std::vector<Box> boxes = place_labels(anchors, 16, marks, frame);
  ASSERT_EQ(boxes.size(), anchors.size());
  for (size_t i = 0; i < boxes.size(); ++i) {
    EXPECT_NEAR(boxes[i].right - boxes[i].left, anchors[i].width, 1e-9);
    EXPECT_GE(boxes[i].left, frame.left);
    EXPECT_LE(boxes[i].right, frame.right);
    EXPECT_GE(boxes[i].top, frame.top);
    EXPECT_LE(boxes[i].bottom, frame.bottom);
    for (size_t j = 0; j < i; ++j) EXPECT_LT(boxes[i].overlap(boxes[j]), 1e-6) << i << " on " << j;
    for (const Box& mark : marks) EXPECT_LT(boxes[i].overlap(mark), 1e-6) << i << " on a point";
  }
}

TEST(Labels, AreNotCrossedByLeaders) {
  // As an evaluation of ours had them: two points twice, one error bar, the frame's edge above.
  const Box frame{64, 36, 638, 294};
  const std::vector<LabelAnchor> anchors{{332, 66, 60},  {382, 36, 123}, {382, 36, 116},
                                         {332, 66, 95},  {513, 101, 95}, {358, 36, 67},
                                         {168, 101, 46}, {541, 36, 102}};
  std::vector<Box> marks{{329, 36, 335, 113}, {510, 36, 516, 192}};
  for (const LabelAnchor& a : anchors) marks.push_back({a.x - 6, a.y - 6, a.x + 6, a.y + 6});
  const std::vector<Box> boxes = place_labels(anchors, 16, marks, frame);
  for (size_t i = 0; i < boxes.size(); ++i)
    for (size_t j = 0; j < boxes.size(); ++j) {
      EXPECT_TRUE(i == j || Leader(anchors[i], boxes[i]).inside(boxes[j]) == 0) << i << " " << j;
      EXPECT_TRUE(i == j || boxes[i].overlap(boxes[j]) == 0) << i << " " << j;
    }
}

TEST(Labels, LeadersAreMeasured) {
  const Leader across({0, 0, 10}, {30, 40, 50, 60});
  EXPECT_EQ(across.length(), 50);
  EXPECT_NEAR(across.inside({15, 0, 40, 100}), 25, 1e-9);
  EXPECT_EQ(across.inside({0, 30, 5, 40}), 0);
  EXPECT_EQ(Leader({5, 5, 10}, {0, 0, 10, 10}).length(), 0);
}

TEST(Labels, StandBesideALonelyPoint) {
  const Box box = place_labels({{100, 100, 40}}, 16, {}, {0, 0, 200, 200})[0];
  EXPECT_DOUBLE_EQ(box.left, 108);
  EXPECT_DOUBLE_EQ(box.top, 92);
}

ArmSummary arm(const std::string& name, std::map<std::string, Statistic> metrics,
               nlohmann::ordered_json options = {}) {
  return {{name, "Method " + name, std::move(options)}, std::move(metrics)};
}

TEST(Report, TableHasMeansSpreadsAndTheBestThatIsNoControl) {
  const TemporaryFolder folder;
  ReportInput input;
  input.title = "title";
  input.metrics = {"cld", "oracle_flip", "seconds", "truth_l1"};
  input.controls = {"control"};
  input.summaries = {arm("b", {{"cld", {1.25, 0.02, 0.5, 60}},
                               {"oracle_flip", {0.5, NAN, 0.1, 60}},
                               {"l1", {20, 1, 1, 60}}}),
                     arm("a", {{"cld", {1.125, 0.0313, 0.5, 60}},
                               {"oracle_flip", {0.25, 0.05, 0.1, 60}},
                               {"l1", {20, 1, 1, 60}},
                               {"seconds", {3.5, 1, 1, 60}}}),
                     arm("control", {{"cld", {1.0625, NAN, NAN, 60}}})};
  write_report(folder.path(), input);
  const std::string page = get(folder / "report.html");
  const auto cells = all(page, "<td(?: class=\"best\")?>([^<]*)</td>");
  // Sorted by CLD; no column for what no arm has; costs without a spread.
  EXPECT_EQ(cells, (std::vector<std::string>{"Method control", "1.062", "–", "–",  //
                                             "Method a", "1.125 ± 0.031", "0.250 ± 0.050", "3.50",
                                             "Method b", "1.250 ± 0.020", "0.500 ± 0.100", "–"}));
  EXPECT_EQ(all(page, "<td class=\"best\">([^<]*)</td>"),
            (std::vector<std::string>{"1.125 ± 0.031", "0.500 ± 0.100"}));
  EXPECT_EQ(all(page, "<th title=[^>]*>([^<]+)</th>"),
            (std::vector<std::string>{"CLD &darr;", "oracle flips &uarr;", "seconds (s)"}));
  const std::string svg = get(folder / "curves/trade-off.svg");
  EXPECT_EQ(all(svg, "<title>Method ([^<]+)</title>"),
            (std::vector<std::string>{"b: 20, 0.5", "a: 20, 0.25"}));
  EXPECT_NE(page.find("None."), std::string::npos);  // failures
}

TEST(Report, SweepsBecomeCurvesWithTheSmallestCldMarked) {
  const TemporaryFolder folder;
  ReportInput input;
  input.swept = true;
  input.metrics = {"cld"};
  for (const double s : {0.0, 1.0, 2.0})
    input.summaries.push_back(
        arm("s", {{"cld", {1.2 - 0.1 * s * (3 - 2 * s), NAN, 0.01, 60}}}, {{"scale", s}}));
  write_report(folder.path(), input);
  const std::string svg = get(folder / "curves/cld.svg");
  EXPECT_NE(svg.find("smallest CLD: s = 1<"), std::string::npos);
  EXPECT_EQ(all(svg, "<title>this run: ([^<]+)</title>"),
            (std::vector<std::string>{"0, 1.2", "1, 1.1", "2, 1.4"}));
  EXPECT_FALSE(std::filesystem::exists(folder / "curves/l1.svg"));  // nobody has it
  input.metrics = {"cdl"};
  expect_error([&] { write_report(folder.path(), input); }, "there is no metric 'cdl'");
}

}  // namespace
}  // namespace diffscm::apps
