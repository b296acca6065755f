// What `counterfactual` finds out about its images, and the page that shows it.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <vector>

#include "apps/film.h"
#include "apps/question.h"
#include "apps/report/counterfactual_page.h"

namespace diffscm::apps {

// Everything about one image.
struct Outcome {
  int64_t index, label;
  double roundtrip_l1 = 0;
  std::optional<double> residual{};  // of fixed points, as is converged
  std::optional<bool> converged{};
  int evaluations = 0;
  struct AtScale {
    double l1;
    nlohmann::ordered_json predicted,
        p_target;  // null without a judge; p_target unless do() sets its class
    std::map<std::string, double> read = {};  // by the regressors that guide
  };
  std::vector<AtScale> at_scale{};
};

// Batch by batch, on the cpu or the target.
struct Images {
  std::vector<Tensor> factual;
  std::vector<std::vector<Tensor>> latent, reconstruction;  // [abduction][batch]
  std::vector<std::vector<Tensor>> counterfactual;          // [scale][batch]
};

class CounterfactualReport {
 public:
  CounterfactualReport(const std::vector<double>& scales, int levels);

  // Takes the film's frames of the batch that begins with image `begin` of the selection.
  PassObserver observer(int64_t begin) { return film_.observer(Film::kImages - begin); }
  // Adds a batch, the last of `images`.
  void add(const Query& query, const Images& images, std::span<const Outcome> outcomes);
  // OUT/report.html, all or nothing.
  void write(const std::filesystem::path& out, const Query& query,
             const nlohmann::ordered_json& options, const std::vector<const ModelInfo*>& models);

 private:
  static constexpr int64_t kImages = 200;

  CounterfactualPage page_;
  Film film_;
};

}  // namespace diffscm::apps
