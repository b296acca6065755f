// The page of one counterfactual run: every image with a slider over the guidance scale, its signed
// difference, the judge's probability of the target and the film of abduction and prediction.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/io/grid.h"

namespace diffscm::apps {

struct CounterfactualPage {
  std::string title;
  std::vector<std::pair<std::string, std::string>> facts;  // settings, device, models
  std::string judge;           // who gave p_target and flipped, e.g. "guiding classifier"
  std::vector<double> scales;  // guidance scales s, in any order; the page sorts them
  double film_scale = 0;       // one of `scales`: that of the frames `down`

  // Pictures of one size throughout. "Per scale": one entry for each of `scales`, in their order.
  struct Image {
    int64_t index = 0;          // in the data set
    std::string label, target;  // factual class ("" unknown) and intended class
    std::optional<bool> converged;
    std::optional<double> residual;  // of the abduction, grey levels
    double roundtrip_l1 = 0;         // reconstruction to factual, grey levels
    io::GridImage factual, reconstruction;
    std::vector<io::GridImage> counterfactual;  // per scale
    std::vector<double> p_target;               // per scale, or empty: nobody judged
    std::vector<double> l1;                     // per scale, to the factual, grey levels
                                                // both are NaN of what is not finite
    std::vector<uint8_t> flipped;               // per scale: the judge sees the target; or empty
    // The film, or all empty: what abduction (up) and prediction (down) passed at these levels.
    std::vector<io::GridImage> up, down;
    std::vector<int> levels;  // ascending, the last is that of the noise u
  };
  std::vector<Image> images;
};

// One self-contained HTML document: script, style and pictures inside, nothing from the network.
// Throws Error when counts or sizes do not fit together.
std::string to_html(const CounterfactualPage& page);

}  // namespace diffscm::apps
