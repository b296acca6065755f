// The numbers of counterfactual-benchmark (Melistas et al. 2024, "Benchmarking counterfactual image
// generation") as its code computes them (main at 581dbb4, counterfactual_benchmark/evaluation),
// from the same answers that image_evaluation.h judges. What is in its code but not in its paper is
// kept, and named by benchmark_notes().
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "evaluation/scm/image_evaluation.h"

namespace diffscm {

struct MeanAndDeviation {
  double mean = 0, deviation = 0;
};

// After do(set), what the attribute `node` reads.
struct BenchmarkEffectiveness {
  std::string set, node;
  const char* metric = "";  // "MAE", "accuracy", or "F1" of a binary node's second state
  MeanAndDeviation value;   // over batches
};

struct BenchmarkScores {
  MeanAndDeviation composition_1, composition_10;  // over images
  std::vector<BenchmarkEffectiveness> effectiveness;
  MeanAndDeviation minimality;         // CLD, over rows
  double p_target = 0, p_factual = 0;  // its two probabilities
  double frechet = 0;                  // of one set: a random attribute set per batch
};

// `batch`: images at once, as there; the attribute of each batch is drawn by `seed`. NaN: no
// network or reader tells it.
BenchmarkScores benchmark_definitions(const causal::Graph& graph, const ImageEvaluation& evaluation,
                                      const ImageReference& reference, int64_t batch,
                                      uint64_t seed);

// What a person should know before comparing, a sentence each.
std::vector<std::string> benchmark_notes();

nlohmann::ordered_json to_json(const BenchmarkScores& scores);

}  // namespace diffscm
