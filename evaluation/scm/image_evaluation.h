// How good the counterfactual images of a causal model are: after do() on each attribute, are the
// attributes what they should be, is the image the true one, does the round trip return it
// (Monteiro et al. 2023, "Measuring axiomatic soundness of counterfactual image models")?
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "causal/scm.h"
#include "evaluation/scm/image_readers.h"
#include "evaluation/scm/image_reference.h"

namespace diffscm {

struct ImageEvaluationOptions {
  uint64_t seed = 0;
  std::vector<std::string> interventions{};  // nodes; empty: all tabular ancestors of the image
  int64_t cycled_rows = 20;                  // that make ten round trips
  int64_t batch = 32;
  // After so many of so many parts; throwing ends the work.
  std::function<void(int64_t done, int64_t total)> progress = {};
};

// Distances are mean absolute differences in grey levels (0-255), over pixels, channels and rows.
struct ImageDistances {
  double factual = 0;  // of the counterfactual to the factual image
  // To the true counterfactual: of the model's, of the factual image, and of a true image of the
  // reference rows with the nearest attributes. NaN: nobody knows the truth.
  double truth = 0, nothing = 0, random = 0;
};

// Whether an attribute reads as it should after do(): of numbers the mean absolute error, of states
// the share that is right. NaN: this reader cannot tell.
struct AttributeScore {
  std::string node, reader;
  bool category = false, set = false;  // by do()
  bool moved = false;                  // a descendant of what was set
  double score = 0;
  double floor = 0;      // of the true counterfactual, else of the factual image as it is
  double unchanged = 0;  // of the factual image against the counterfactual's values
};

// NaN: no network tells it.
struct SetScore {
  double value = 0;
  double floor = 0;  // of the true counterfactuals; of realism, where nobody knows them, of the
                     // factual images
};

struct ImageInterventionScore {
  std::string node;
  ImageDistances distance;
  std::vector<AttributeScore> attributes;
  // CLD, the mean over rows (evaluation/metrics/cld.h), with the reference images where the node is
  // as it was and as it was set (ImageReference::members).
  SetScore cld;
  // Squared Frechet distance of the oracle's features to those of the reference images. Biased
  // upwards for few rows, as its floor is.
  SetScore realism;
};

// All that was judged, by row.
struct ImageRecords {
  struct Answer {
    causal::NodeValues values{};                         // under do(), without the images
    std::vector<std::vector<std::vector<double>>> read;  // by reader, row and node
    SeenImages seen, truth{};                            // truth: of all rows, or of none
  };
  std::vector<size_t> set;  // nodes, one Answer each
  causal::NodeValues factual;
  SeenImages seen;
  std::vector<Answer> answers;
  std::vector<double> composition_1, composition_10;  // by row
};

struct ImageEvaluation {
  int64_t rows = 0;
  double composition_1 = 0, composition_10 = 0;  // of the mechanism alone, under factual parents
  double seconds_per_image = 0;                  // abduction and one prediction
  std::vector<ImageInterventionScore> interventions;
  ImageRecords records;
};

// do() on one node at a time: states change to another one, drawn uniformly, numbers to the value
// of another row. `reference`: of the same graph; the random image comes from it. The same seed
// draws the same interventions for every model. Throws Error for a node that is no tabular ancestor
// of the image.
ImageEvaluation evaluate_images(const causal::StructuralCausalModel& model,
                                const data::Dataset& dataset, std::span<const int64_t> index,
                                const ImageReference& reference,
                                std::span<const ImageReader> readers,
                                const ImageEvaluationOptions& options);

nlohmann::ordered_json to_json(const ImageEvaluation& evaluation);

}  // namespace diffscm
