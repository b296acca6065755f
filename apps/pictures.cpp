#include "apps/pictures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>

#include "diffusion/sampler.h"

namespace diffscm::apps {
namespace {

// "3 to 5", in the names of the data's states.
std::string question(const Evaluation& evaluation, const Trial& t) {
  const States states = states_of({&t, 1});
  const data::Attribute& a = evaluation.test().label_attribute();
  return fmt::format("{} to {}", a.show(static_cast<double>(states.factual[0])),
                     a.show(static_cast<double>(states.target[0])));
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
    block.columns.push_back(question(evaluation, trials[i]));
    block.rows[0].images.push_back(io::grid_image(factual, static_cast<int64_t>(i)));
  }
  for (size_t a = 0; a < arms.size(); ++a) {
    const Tensor images = evaluation.answers(arms[a].arm.name, trials);
    for (size_t i = 0; i < trials.size(); ++i)
      block.rows[a + 1].images.push_back(io::grid_image(images, static_cast<int64_t>(i)));
  }
  return block;
}

PictureBlock sample_sheet(const SampleSet& samples, int64_t count, int64_t across) {
  count = std::min(count, samples.images.dim(0));
  std::string which = samples.title;
  which[0] = static_cast<char>(std::tolower(which[0]));
  PictureBlock block{fmt::format("The first {} {}", count, which),
                     "Unguided, from fresh noise. The pictures were not chosen.",
                     {},
                     {}};
  for (int64_t i = 0; i < count; ++i) {
    if (i % across == 0) block.rows.emplace_back();
    block.rows.back().images.push_back(io::grid_image(samples.images, i));
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
    block.columns.push_back(
        fmt::format("{} {}", names[row / each], question(evaluation, chosen[i])));
    block.rows[0].images.push_back(before);
    block.rows[1].images.push_back(after);
    block.rows[2].images.push_back(io::signed_difference(after, before));
  }
  return block;
}

PictureBlock film_strip(const Evaluation& evaluation, const DiffScmOptions& method, int64_t count,
                        int frames) {
  const double scale = method.scales.at(0);
  const Chain& chain = evaluation.model().chain();
  const int levels = chain.checked_levels(method.abduction.levels);
  std::vector<int> shown;  // levels, ascending
  for (int f = 1; f <= frames; ++f)
    if (const int level = std::max(1, f * levels / frames); shown.empty() || level > shown.back())
      shown.push_back(level);

  PictureBlock block{"Abduction and prediction",
                     fmt::format("Upper row of each pair: abduction, from the image (left) to its "
                                 "exogenous noise (right). "
                                 "Lower row: prediction under do(target) from the same noise, read "
                                 "from right to left, s = {:g}.",
                                 scale),
                     {},
                     {"image"}};
  for (const int level : shown) block.columns.push_back(fmt::format("level {}", level));
  for (const Trial& trial : first_trials(evaluation, count)) {
    const Action action =
        diff_scm_action(evaluation.model(), evaluation.guide(), method, {&trial, 1});
    const Tensor factual = evaluation.factual({trial}).to(evaluation.model().target());
    io::GridRow up{question(evaluation, trial) + ", up", {io::grid_image(factual, 0)}},
        down{"down", {}};
    std::map<int, Tensor> at;  // level -> what stood there
    const Observer keep = [&](int level, const Tensor& x) {
      if (level == 0 || std::find(shown.begin(), shown.end(), level) != shown.end())
        at[level] = x.clone();
    };
    const Abduction u = abduct(action.epsilon, action.factual.scaled(scale), chain, factual,
                               method.abduction, evaluation.progress(), keep);
    for (const int level : shown) up.images.push_back(io::grid_image(at.at(level), 0));
    predict(u, action.epsilon, action.guidance.scaled(scale), chain, levels, {},
            evaluation.progress(), keep);
    down.images.push_back(io::grid_image(at.at(0), 0));
    for (const int level : shown) down.images.push_back(io::grid_image(at.at(level), 0));
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
    if (r.failed) wrong.push_back("pixels that are not finite");
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
                                           r.trial.index, question(evaluation, r.trial),
                                           fmt::join(wrong, "; ")));
  }
}

}  // namespace diffscm::apps
