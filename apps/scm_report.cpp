#include "apps/scm_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "apps/report/document.h"
#include "apps/report/graph_drawing.h"
#include "engine/io/file.h"

namespace diffscm::apps {
namespace {

constexpr int64_t kFilms = 3;
constexpr int kFrames = 10;

// What stood at each level.
using Walk = std::map<int, Tensor>;

std::vector<int> evenly(const Walk& walk) {
  const int top = walk.empty() ? 0 : walk.rbegin()->first;
  std::vector<int> levels;
  for (int f = 1; f <= kFrames; ++f)
    if (const int level = std::max(1, f * top / kFrames);
        walk.contains(level) && (levels.empty() || level > levels.back()))
      levels.push_back(level);
  return levels;
}

// Of the first images that do() reaches.
struct Film {
  std::vector<io::GridRow> strips;
  std::vector<std::string> columns{"image"};
};

Film film_of(causal::StructuralCausalModel& model, const NodeRows& rows,
             const causal::Intervention& intervention, uint64_t seed) {
  const causal::Graph& graph = model.graph();
  const size_t image = causal::DatasetNodes(graph, *rows.dataset).image();
  Film film;
  for (int64_t row = 0; row < std::ssize(rows.index) && std::ssize(film.strips) < 2 * kFilms;
       ++row) {
    const causal::NodeValues factual = causal::select_rows(rows.values, std::vector{row});
    Walk up, down;
    model.mechanism(image).watch([&](bool predicting, int level, const Tensor& x) {
      (predicting ? down : up)[level] = x.to(Target::cpu).clone();
    });
    const causal::NodeValues noise =
        model.abduct(factual, {seed, {rows.index[static_cast<size_t>(row)]}}, {{intervention}});
    const causal::NodeValues answer = model.counterfactual(factual, noise, intervention).value;
    model.mechanism(image).watch({});
    if (up.empty() || down.empty()) continue;  // do() did not reach this image
    const std::vector<int> levels = evenly(up);
    if (film.columns.size() == 1)
      for (const int level : levels) film.columns.push_back(fmt::format("level {}", level));
    io::GridRow way_up{fmt::format("#{}, up", rows.index[static_cast<size_t>(row)]),
                       {io::grid_image(factual[image].images, 0)}},
        way_down{"down", {io::grid_image(answer[image].images, 0)}};
    for (const int level : levels) {
      way_up.images.push_back(io::grid_image(up.at(level), 0));
      const auto there = down.find(level);  // prediction begins with the noise itself
      way_down.images.push_back(
          io::grid_image(there == down.end() ? up.at(level) : there->second, 0));
    }
    film.strips.push_back(std::move(way_up));
    film.strips.push_back(std::move(way_down));
  }
  return film;
}

}  // namespace

void write_scm_report(const std::filesystem::path& out, causal::StructuralCausalModel& model,
                      const NodeRows& rows,
                      const std::vector<std::pair<std::string, causal::Intervention>>& questions,
                      const ImageAnswers& images, uint64_t seed,
                      const std::vector<std::pair<std::string, std::string>>& facts) {
  const std::string& name = model.graph().name();
  Document page(name.empty() ? "What would it have been?" : name + ": what would it have been?");
  page.facts(facts);
  std::string caption = "Attributes that changed have a star.";
  if (images.has_truth())
    caption +=
        " The truth is the image that the data's own world makes of the same attributes and noise.";
  page.images(images.rows(), images.columns(), caption);
  page.section("Abduction and prediction");
  page.paragraph(
      "Upper row of each pair: abduction, from the image (left) to its noise (right). Lower row: "
      "prediction under do() from the same noise, read from right to left.");
  for (const auto& [text, intervention] : questions) {
    const Film film = film_of(model, rows, intervention, seed);
    if (film.strips.empty())
      page.paragraph(fmt::format("do({}) changes no cause of these images.", text));
    else
      page.images(film.strips, film.columns, fmt::format("Under do({}).", text));
  }
  page.section("The graph under do()");
  for (const auto& [text, intervention] : questions)
    page.svg(draw_graph(model.graph(), intervention), fmt::format("do({})", text));
  io::atomic_write(out / "report.html", page.html());
}

}  // namespace diffscm::apps
