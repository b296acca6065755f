#include "apps/film.h"

#include <algorithm>

namespace diffscm::apps {
namespace {

constexpr int kFrames = 12;

}  // namespace

Film::Film(int levels, std::vector<double> scales) {
  std::vector<double> sorted = scales;
  std::ranges::sort(sorted);
  scale_ = sorted[sorted.size() / 2];
  place_ = static_cast<size_t>(std::ranges::find(scales, scale_) - scales.begin());
  for (int f = 1; f <= kFrames; ++f)
    if (const int level = std::max(1, f * levels / kFrames);
        levels_.empty() || level > levels_.back())
      levels_.push_back(level);
}

PassObserver Film::observer(int64_t images) {
  for (auto& way : frames_) way.assign(levels_.size(), {});
  if (images <= 0) return {};
  return [this, images](const Pass& pass, int level, const Tensor& x) {
    const bool is_up = pass.kind == Pass::abduction;
    // s = 0 is the reconstruction.
    if (!is_up && pass.kind != (scale_ == 0 ? Pass::reconstruction : Pass::prediction)) return;
    // Of several abductions and reconstructions, the last that is not of a later scale is ours.
    if (pass.kind == Pass::prediction ? pass.scale != place_ : pass.scale > place_) return;
    const auto at = std::ranges::find(levels_, level);
    if (at == levels_.end()) return;
    auto& frame = frames_[is_up ? 0 : 1][static_cast<size_t>(at - levels_.begin())];
    frame.clear();
    for (int64_t i = 0; i < std::min(images, x.dim(0)); ++i) frame.push_back(io::grid_image(x, i));
    // Prediction starts from the noise that abduction ends with.
    if (is_up && level == levels_.back()) frames_[1].back() = frame;
  };
}

void Film::put(int64_t row, CounterfactualPage::Image& image) const {
  const auto i = static_cast<size_t>(row);
  if (i >= frames_[0].back().size()) return;
  image.levels = levels_;
  for (size_t f = 0; f < levels_.size(); ++f) {
    image.up.push_back(frames_[0][f][i]);
    image.down.push_back(frames_[1][f][i]);
  }
}

}  // namespace diffscm::apps
