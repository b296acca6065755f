// The film of a run's first images: what stood at about a dozen levels of the chain.
#pragma once

#include <array>

#include "apps/report/counterfactual_page.h"
#include "causal/counterfactual.h"

namespace diffscm::apps {

class Film {
 public:
  static constexpr int64_t kImages = 20;

  // Of the passes of a run with these scales, the abduction and the prediction at the middle scale.
  Film(int levels, std::vector<double> scales);

  double scale() const { return scale_; }
  // Takes the first `images` rows of the next batch; forgets the batch before.
  PassObserver observer(int64_t images);
  // Row `row` of that batch; leaves an image that was not taken without a film.
  void put(int64_t row, CounterfactualPage::Image& image) const;

 private:
  double scale_;
  size_t place_;             // of scale_ among the scales
  std::vector<int> levels_;  // ascending
  // [abduction, prediction][level of levels_][row]
  std::array<std::vector<std::vector<io::GridImage>>, 2> frames_;
};

}  // namespace diffscm::apps
