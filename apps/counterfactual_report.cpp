#include "apps/counterfactual_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/io/file.h"
#include "engine/io/json.h"

namespace diffscm::apps {

CounterfactualReport::CounterfactualReport(const std::vector<double>& scales, int levels)
    : film_(levels, scales) {
  page_.scales = scales;
  page_.film_scale = film_.scale();
}

void CounterfactualReport::add(const Query& query, const Images& images,
                               std::span<const Outcome> outcomes) {
  const int64_t target = query.target_class();
  for (size_t row = 0; row < outcomes.size(); ++row) {
    if (static_cast<int64_t>(page_.images.size()) == kImages) return;
    const Outcome& o = outcomes[row];
    const auto i = static_cast<int64_t>(row);
    CounterfactualPage::Image image;
    image.index = o.index;
    if (o.label >= 0)
      image.label = query.selection.dataset.label_attribute().show(static_cast<double>(o.label));
    image.target = query.target.size() == 1
                       ? data::find_attribute(query.attributes, query.target.begin()->first)
                             .show(query.target.begin()->second)
                       : data::show(query.target, query.attributes);
    image.converged = o.converged;
    image.residual = o.residual;
    image.roundtrip_l1 = o.roundtrip_l1;
    image.factual = io::grid_image(images.factual.back(), i);
    image.reconstruction = io::grid_image(images.reconstruction[0].back(), i);
    for (size_t s = 0; s < o.at_scale.size(); ++s) {
      image.counterfactual.push_back(io::grid_image(images.counterfactual[s].back(), i));
      image.l1.push_back(o.at_scale[s].l1);
      if (!query.judge || target < 0) continue;
      const nlohmann::ordered_json& p = o.at_scale[s].p_target;  // null of what is not finite
      image.p_target.push_back(p.is_null() ? std::nan("") : p.get<double>());
      image.flipped.push_back(o.at_scale[s].predicted == target);
    }
    film_.put(i, image);
    page_.images.push_back(std::move(image));
  }
}

void CounterfactualReport::write(const std::filesystem::path& out, const Query& query,
                                 const nlohmann::ordered_json& options,
                                 const std::vector<const ModelInfo*>& models) {
  page_.title = fmt::format("do({})", data::show(query.target, query.attributes));
  if (query.judge && query.target_class() >= 0) {
    const bool guides = std::ranges::any_of(query.guides, [&](const auto& guide) {
      return guide.second->info().path == query.judge->info.path;
    });
    page_.judge = fmt::format("{} {}", guides ? "guided and judged by" : "judged by",
                              std::filesystem::path(query.judge->info.path).stem().string());
  }
  for (const ModelInfo* model : models) page_.facts.emplace_back("network", model->path);
  for (const auto& [name, value] : options.items())
    page_.facts.emplace_back(name, value.is_string() ? value.get<std::string>() : io::dump(value));
  if (page_.images.size() < query.selection.index.size())
    page_.facts.emplace_back(
        "images on this page",
        fmt::format("the first {} of {}", page_.images.size(), query.selection.index.size()));
  io::atomic_write(out / "report.html", to_html(page_));
}

}  // namespace diffscm::apps
