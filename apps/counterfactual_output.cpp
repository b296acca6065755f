#include "apps/counterfactual_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "diffusion/batch.h"
#include "engine/io/npz.h"

namespace diffscm::apps {
namespace {

using Json = nlohmann::ordered_json;

// L1 of a round trip, in grey levels, from which on it is worth a word.
constexpr double kVisible = 0.5;

std::vector<Tensor> joined(const std::vector<std::vector<Tensor>>& batches) {
  std::vector<Tensor> all;
  for (const std::vector<Tensor>& one : batches) all.push_back(concatenate(one));
  return all;
}

// [N,H,W,C] of one, [S,N,H,W,C] of several.
io::NpyArray stacked(const std::vector<Tensor>& all) {
  Shape shape = all[0].shape();
  if (all.size() > 1) shape.insert(shape.begin(), static_cast<int64_t>(all.size()));
  return io::NpyArray::from(concatenate(all).reshape(shape));
}

template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

// Above its images: the name of the class, or as much of it as leaves the picture readable.
std::string heading(const Outcome& o, const data::Dataset& dataset) {
  constexpr size_t kLongest = 16;
  if (o.label < 0) return fmt::format("#{}", o.index);
  std::string name = dataset.label_attribute().show(static_cast<double>(o.label));
  if (name.size() > kLongest) name.replace(kLongest - 2, std::string::npos, "..");
  return name;
}

}  // namespace

void write_images(const std::filesystem::path& out, const std::string& title,
                  const std::vector<double>& scales, const Query& query, const Images& images,
                  const std::vector<Outcome>& outcomes) {
  const Tensor factual = concatenate(images.factual);
  const std::vector<Tensor> reconstruction = joined(images.reconstruction),
                            by_scale = joined(images.counterfactual);
  std::vector<int64_t> labels;
  const std::vector<float> guided(scales.begin(), scales.end());
  for (const Outcome& o : outcomes) labels.push_back(o.label);
  const int64_t n = factual.dim(0);

  const std::vector<int64_t> target(static_cast<size_t>(n), query.target_class());
  io::write_npz(out / "counterfactuals.npz",
                {{"factual", io::NpyArray::from(factual)},
                 {"reconstruction", stacked(reconstruction)},
                 {"counterfactual", stacked(by_scale)},
                 {"latent", stacked(joined(images.latent))},
                 {"label", io::NpyArray::from(labels, {n})},
                 {"target", io::NpyArray::from(target, {n})},
                 {"scale", io::NpyArray::from(guided, {std::ssize(guided)})}});

  // The picture shows the first images; all of them are in the archive.
  const int64_t shown = std::min<int64_t>(n, 16);
  std::vector<io::GridRow> rows{{"factual", {}}, {"rec", {}}};
  io::GridOptions grid{.title = title, .columns = {}};
  for (const double s : scales) rows.push_back({fmt::format("s={:g}", s), {}});
  for (int64_t i = 0; i < shown; ++i) {
    const Outcome& o = outcomes[static_cast<size_t>(i)];
    grid.columns.push_back(heading(o, query.selection.dataset));
    rows[0].images.push_back(io::grid_image(factual, i));
    rows[1].images.push_back(io::grid_image(reconstruction[0], i));
    for (size_t s = 0; s < by_scale.size(); ++s)
      rows[2 + s].images.push_back(io::grid_image(by_scale[s], i));
  }
  io::write_grid(out / "grid.png", rows, grid);
}

std::vector<Json> result_lines(const std::vector<double>& scales, const Query& query,
                               const std::vector<Outcome>& outcomes) {
  std::vector<Json> lines;
  for (const Outcome& o : outcomes)
    for (size_t s = 0; s < o.at_scale.size(); ++s) {
      lines.push_back({{"index", o.index},
                       {"label", o.label},
                       {"target", query.target_class()},
                       {"do", query.target},
                       {"scale", scales[s]},
                       {"roundtrip_l1", o.roundtrip_l1},
                       {"residual", or_null(o.residual)},
                       {"converged", or_null(o.converged)},
                       {"evaluations", o.evaluations},
                       {"l1", o.at_scale[s].l1},
                       {"predicted", o.at_scale[s].predicted},
                       {"p_target", o.at_scale[s].p_target}});
      if (!o.at_scale[s].read.empty()) lines.back()["read"] = o.at_scale[s].read;
    }
  return lines;
}

Json summarise(const std::vector<double>& scales, const Query& query,
               const std::vector<Outcome>& outcomes, double seconds) {
  std::vector<double> roundtrip;
  Json unconverged = Json::array(), not_returned = Json::array();
  for (const Outcome& o : outcomes) {
    roundtrip.push_back(o.roundtrip_l1);
    if (!(o.roundtrip_l1 <= kVisible)) not_returned.push_back(o.index);
    if (!o.converged.value_or(true)) unconverged.push_back(o.index);
  }
  Json by_scale = Json::array();
  for (size_t s = 0; s < scales.size(); ++s) {
    std::vector<double> l1, p;
    std::map<std::string, std::vector<double>> read;
    int64_t flipped = 0;
    for (const Outcome& o : outcomes) {
      if (std::isfinite(o.at_scale[s].l1)) l1.push_back(o.at_scale[s].l1);
      for (const auto& [parent, value] : o.at_scale[s].read)
        if (std::isfinite(value)) read[parent].push_back(value);
      if (o.at_scale[s].p_target.is_null()) continue;
      p.push_back(o.at_scale[s].p_target.get<double>());
      flipped += o.at_scale[s].predicted == query.target_class();
    }
    Json line = {{"scale", scales[s]}, {"l1_median", median(l1)}};
    if (l1.size() < outcomes.size()) line["failed"] = outcomes.size() - l1.size();
    if (!p.empty()) {
      line["flip_rate"] = static_cast<double>(flipped) / static_cast<double>(outcomes.size());
      line["p_target_median"] = median(p);
    }
    for (auto& [parent, values] : read) line["read_median"][parent] = median(std::move(values));
    by_scale.push_back(line);
  }
  return {{"images", outcomes.size()},
          {"roundtrip_l1_median", median(roundtrip)},
          {"roundtrip_l1_max", *std::max_element(roundtrip.begin(), roundtrip.end())},
          {"not_converged", unconverged},
          {"not_returned", not_returned},
          {"scales", by_scale},
          {"seconds", seconds}};
}

void print_table(const std::filesystem::path& out, const Query& query, AbductionMethod abduction,
                 const Json& summary) {
  fmt::print("\n{:>8} {:>10} {:>12} {:>12}", "scale s", "flip rate", "L1 median", "p(target)");
  std::vector<std::string> read;  // by regressors, as a median
  for (const auto& [parent, guide] : query.guides)
    if (!guide->is_classifier()) read.push_back(parent);
  for (const std::string& parent : read) fmt::print(" {:>16}", parent + " read");
  fmt::print("\n");
  for (const Json& s : summary["scales"]) {
    const bool judged = s.contains("flip_rate");  // by a classifier of what do() sets
    fmt::print("{:>8g} {:>10} {:>12.2f} {:>12}", s["scale"].get<double>(),
               judged ? fmt::format("{:.1f}%", 100 * s["flip_rate"].get<double>()) : "-",
               s["l1_median"].get<double>(),
               judged ? fmt::format("{:.3f}", s["p_target_median"].get<double>()) : "-");
    for (const std::string& parent : read) {
      const bool finite = s.contains("read_median") && s["read_median"].contains(parent);
      fmt::print(" {:>16}",
                 finite ? fmt::format("{:.4g}", s["read_median"][parent].get<double>()) : "-");
    }
    fmt::print("\n");
  }
  fmt::print(
      "round trip (s = 0): median {:.4f}, worst {:.4f} grey levels; L1 in grey levels, 0-255\n",
      summary["roundtrip_l1_median"].get<double>(), summary["roundtrip_l1_max"].get<double>());
  if (const size_t lost = summary["not_returned"].size(); lost > 0)
    fmt::print("{} of {} images come back from their noise more than {} grey level off: {}\n", lost,
               summary["images"].get<size_t>(), kVisible,
               abduction == AbductionMethod::ddim ? "--abduction fixed-point and ddpm are exact"
                                                  : "raise --max-iterations, or take more --steps");
  fmt::print("{} images in {:.1f} s; picture: {}\n", summary["images"].get<size_t>(),
             summary["seconds"].get<double>(), (out / "grid.png").string());
}

}  // namespace diffscm::apps
