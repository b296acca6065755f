// diffscm scm evaluate: what its two kinds share.
#pragma once

#include <optional>

#include "apps/scm.h"
#include "evaluation/scm/benchmark_definitions.h"

namespace diffscm::apps {

// Of a graph with an image in it.
struct ImageScmFlags {
  std::string model, vae, oracle, compat, out;
  RowFlags rows;
  std::vector<std::string> interventions, variants, judges;
  int64_t batch = 32, cycled = 10;
};
// One way of answering, judged.
struct ImageVariant {
  std::string name;
  ImageEvaluation evaluation;
  std::optional<BenchmarkScores> benchmark;
};
std::string image_csv(const std::vector<ImageVariant>& variants);
std::string image_report(const ImageScmFlags& flags, const std::vector<ImageVariant>& variants);
void print(const ImageVariant& variant);  // for a terminal

// `options`: all flags, for run.json. Leaves the model as its last variant.
void evaluate_image_graph(Common& common, causal::StructuralCausalModel& model,
                          const ImageScmFlags& flags, const nlohmann::ordered_json& options);

}  // namespace diffscm::apps
