#include "apps/scm_images.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "diffusion/batch.h"
#include "engine/io/grid.h"
#include "engine/io/npz.h"

namespace diffscm::apps {

ImageAnswers::ImageAnswers(const causal::Graph& graph, const NodeRows& rows,
                           std::vector<std::string> interventions)
    : graph_(graph),
      rows_(rows),
      nodes_(graph, *rows.dataset),
      interventions_(std::move(interventions)),
      counterfactual_(interventions_.size()),
      truth_(interventions_.size()),
      captions_(interventions_.size()) {}

std::vector<ImageAnswers::Distance> ImageAnswers::add(size_t d, int64_t begin,
                                                      const causal::NodeValues& factual,
                                                      const causal::NodeValues& counterfactual) {
  const Tensor &before = factual[nodes_.image()].images,
               &after = counterfactual[nodes_.image()].images;
  const int64_t rows = before.dim(0);
  const auto pixels = static_cast<size_t>(before.numel() / rows);
  if (d == 0) factual_.insert(factual_.end(), before.data(), before.data() + before.numel());
  counterfactual_[d].insert(counterfactual_[d].end(), after.data(), after.data() + after.numel());
  std::vector<Distance> distances;
  for (int64_t row = 0; row < rows; ++row) {
    const auto first = static_cast<size_t>(row) * pixels;
    const std::span was(before.data() + first, pixels), is(after.data() + first, pixels);
    Distance distance{.factual = l1_grey_levels(was, is)};
    std::vector<float> true_image =
        nodes_.true_image(rows_.index[static_cast<size_t>(begin + row)], counterfactual, row);
    if (!true_image.empty()) {
      has_truth_ = true;
      distance.truth = l1_grey_levels(is, true_image);
      distance.nothing = l1_grey_levels(was, true_image);
    } else {
      true_image.assign(pixels, std::numeric_limits<float>::quiet_NaN());
    }
    truth_[d].insert(truth_[d].end(), true_image.begin(), true_image.end());
    if (begin + row < kShown) {
      if (d == 0) factual_captions_.push_back(attributes_of(graph_, factual, nullptr, row));
      captions_[d].push_back(attributes_of(graph_, counterfactual, &factual, row));
    }
    distances.push_back(distance);
  }
  return distances;
}

void ImageAnswers::write(const std::filesystem::path& out, const std::string& title) const {
  const data::Dataset& dataset = *rows_.dataset;
  const int64_t n = std::ssize(rows_.index);
  const auto stacked = [&](const std::vector<std::vector<float>>& parts) {
    std::vector<float> all;
    for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
    return io::NpyArray::from(
        Tensor::from(all, {std::ssize(parts), n, dataset.height, dataset.width, dataset.channels}));
  };
  io::NpyArrays arrays{
      {"factual", io::NpyArray::from(Tensor::from(
                      factual_, {n, dataset.height, dataset.width, dataset.channels}))},
      {"counterfactual", stacked(counterfactual_)}};
  if (has_truth_) arrays.emplace("truth", stacked(truth_));
  io::write_npz(out / "images.npz", arrays);

  io::write_grid(out / "grid.png", this->rows(), {.title = title, .columns = columns()});
}

std::vector<std::string> ImageAnswers::columns() const {
  std::vector<std::string> columns;
  for (size_t row = 0; row < factual_captions_.size(); ++row)
    columns.push_back(fmt::format("#{}", rows_.index[row]));
  return columns;
}

std::vector<io::GridRow> ImageAnswers::rows() const {
  const data::Dataset& dataset = *rows_.dataset;
  const int64_t pixels = dataset.height * dataset.width * dataset.channels;
  const auto row_of = [&](std::string label, const std::vector<float>& images,
                          const std::vector<std::string>& captions) {
    io::GridRow row{std::move(label), {}};
    for (size_t i = 0; i < factual_captions_.size(); ++i) {
      const auto first = images.begin() + static_cast<int64_t>(i) * pixels;
      row.images.push_back(std::isnan(*first) ? io::GridImage{}
                                              : io::GridImage{dataset.height,
                                                              dataset.width,
                                                              dataset.channels,
                                                              {first, first + pixels},
                                                              captions.empty() ? "" : captions[i]});
    }
    return row;
  };
  std::vector<io::GridRow> grid{row_of("factual", factual_, factual_captions_)};
  for (size_t d = 0; d < interventions_.size(); ++d) {
    grid.push_back(
        row_of(fmt::format("do({})", interventions_[d]), counterfactual_[d], captions_[d]));
    io::GridRow truth = row_of("truth", truth_[d], {});
    if (std::ranges::any_of(truth.images, [](const auto& image) { return image.width > 0; }))
      grid.push_back(std::move(truth));
  }
  return grid;
}

}  // namespace diffscm::apps
