// diffscm scm evaluate: what its two kinds share.
#pragma once

#include "apps/scm.h"

namespace diffscm::apps {

// Of a graph with an image in it.
struct ImageScmFlags {
  std::string model, out;
  RowFlags rows;
  std::vector<std::string> interventions, variants, judges;
  int64_t batch = 32, cycled = 10;
};
// `options`: all flags, for run.json. Leaves the model as its last variant.
void evaluate_image_graph(Common& common, causal::StructuralCausalModel& model,
                          const ImageScmFlags& flags, const nlohmann::ordered_json& options);

}  // namespace diffscm::apps
