#include "apps/pictures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace diffscm::apps {
namespace {

std::string question(const Trial& t) {
  return fmt::format("{} to {}", t.label, t.target);
}

std::vector<Trial> first_trials(const Evaluation& evaluation, int64_t count) {
  const auto& all = evaluation.trials();
  return {all.begin(), all.begin() + std::min<int64_t>(count, static_cast<int64_t>(all.size()))};
}

}  // namespace

PictureBlock side_by_side(const Evaluation& evaluation, const std::vector<ArmSummary>& arms,
                          int64_t count) {
  const std::vector<Trial> trials = first_trials(evaluation, count);
  PictureBlock block{"Side by side",
                     "The first images of the experiment; columns: factual class to "
                     "target class. The pictures were not chosen.",
                     {},
                     {}};
  const Tensor factual = evaluation.factual(trials);
  block.rows.push_back({"factual", {}});
  for (const ArmSummary& s : arms) block.rows.push_back({s.arm.name, {}});
  for (size_t i = 0; i < trials.size(); ++i) {
    block.columns.push_back(question(trials[i]));
    block.rows[0].images.push_back(io::grid_image(factual, static_cast<int64_t>(i)));
  }
  for (size_t a = 0; a < arms.size(); ++a) {
    const Tensor images = evaluation.answers(arms[a].arm.name, trials);
    for (size_t i = 0; i < trials.size(); ++i)
      block.rows[a + 1].images.push_back(io::grid_image(images, static_cast<int64_t>(i)));
  }
  return block;
}

PictureBlock best_median_worst(const Evaluation& evaluation, const Arm& arm,
                               const std::string& name, int64_t each) {
  std::vector<std::pair<double, Trial>> ranked;
  for (const Record& r : evaluation.records()) {
    const auto value = r.metrics.find(metric(name).name);
    if (r.arm == arm.name && value != r.metrics.end() && std::isfinite(value->second))
      ranked.emplace_back(value->second, r.trial);
  }
  std::sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first, a.second.id) < std::pair(b.first, b.second.id);
  });
  const auto n = static_cast<int64_t>(ranked.size());
  each = std::min(each, n / 3);
  const std::string title = metric(name).title;
  PictureBlock block{
      fmt::format("{}: best, median and worst by {}", arm.name, title),
      fmt::format("Red: brighter than the factual, blue: darker. Captions: {}.", title),
      {},
      {}};
  if (each == 0) return block;
  std::vector<Trial> chosen;
  std::vector<double> values;
  for (const int64_t begin : {int64_t{0}, (n - each) / 2, n - each})
    for (int64_t i = begin; i < begin + each; ++i) {
      values.push_back(ranked[static_cast<size_t>(i)].first);
      chosen.push_back(ranked[static_cast<size_t>(i)].second);
    }
  const Tensor factual = evaluation.factual(chosen), image = evaluation.answers(arm.name, chosen);
  block.rows = {{"factual", {}}, {"counterfactual", {}}, {"difference", {}}};
  const char* names[] = {"best", "median", "worst"};
  for (size_t i = 0; i < chosen.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    const io::GridImage before = io::grid_image(factual, row),
                        after = io::grid_image(image, row, fmt::format("{:.3f}", values[i]));
    block.columns.push_back(fmt::format("{} {}", names[row / each], question(chosen[i])));
    block.rows[0].images.push_back(before);
    block.rows[1].images.push_back(after);
    block.rows[2].images.push_back(io::signed_difference(after, before));
  }
  return block;
}

PictureBlock film_strip(const Evaluation& evaluation, const std::vector<Trial>& trials,
                        double scale, int frames) {
  const Chain& chain = evaluation.model().chain();
  const int levels = chain.checked_levels(evaluation.abduction().levels);
  std::vector<int> shown;  // levels, ascending
  for (int f = 1; f <= frames; ++f)
    if (const int level = std::max(1, f * levels / frames); shown.empty() || level > shown.back())
      shown.push_back(level);

  // What the network was last asked at a timestep is what stood at that level.
  std::map<int, Tensor> asked;
  const EpsilonModel epsilon = [&, model = evaluation.model().epsilon()](const Tensor& x, int t) {
    asked[t] = x.clone();
    return model(x, t);
  };
  PictureBlock block{"Abduction and prediction",
                     fmt::format("Upper row of each pair: abduction, from the image (left) to its "
                                 "exogenous noise (right). "
                                 "Lower row: prediction under do(target) from the same noise, read "
                                 "from right to left, s = {:g}.",
                                 scale),
                     {},
                     {"image"}};
  for (const int level : shown) block.columns.push_back(fmt::format("level {}", level));
  for (const Trial& trial : trials) {
    const Tensor factual = evaluation.factual({trial}).to(evaluation.model().target());
    io::GridRow up{question(trial) + ", up", {io::grid_image(factual, 0)}}, down{"down", {}};
    const auto frames_of = [&](io::GridRow& row) {
      for (const int level : shown) {
        const auto at = asked.find(chain.timestep(level));
        row.images.push_back(at == asked.end() ? io::GridImage{} : io::grid_image(at->second, 0));
      }
    };
    asked.clear();
    const Abduction u =
        abduct(epsilon, chain, factual, evaluation.abduction(), evaluation.progress());
    frames_of(up);
    asked.clear();
    const Tensor image = sample(epsilon, evaluation.guide().gradient({trial.target}), chain, levels,
                                u.latent, {.guidance_scale = scale}, {}, evaluation.progress());
    down.images.push_back(io::grid_image(image, 0));
    frames_of(down);
    block.rows.push_back(std::move(up));
    block.rows.push_back(std::move(down));
  }
  return block;
}

void list_failures(const Evaluation& evaluation, const Arm& arm, ReportInput& input) {
  constexpr size_t kListed = 40;
  for (const Record& r : evaluation.records()) {
    if (r.arm != arm.name) continue;
    const auto value = [&](const char* name) {
      const auto found = r.metrics.find(metric(name).name);
      return found == r.metrics.end() ? std::nan("") : found->second;
    };
    std::vector<std::string> wrong;
    if (value("oracle_flip") == 0)
      wrong.push_back(fmt::format("the oracle gives the target p = {:.3f}{}",
                                  value("oracle_p_target"),
                                  value("guide_flip") == 1 ? " though the guide sees it" : ""));
    if (value("converged") == 0)
      wrong.push_back(
          fmt::format("abduction stopped at a residual of {:.3f} grey levels", value("residual")));
    if (wrong.empty()) continue;
    ++input.failures_in_all;
    if (input.failures.size() < kListed)
      input.failures.push_back(fmt::format("{}, trial {}: image {}, {}: {}", arm.name, r.trial.id,
                                           r.trial.index, question(r.trial),
                                           fmt::join(wrong, "; ")));
  }
}

}  // namespace diffscm::apps
