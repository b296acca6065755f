// The images among a causal model's counterfactuals: beside the truth where it is known, as a
// picture and as an archive.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "apps/scm.h"
#include "causal/dataset_nodes.h"
#include "engine/io/grid.h"

namespace diffscm::apps {

class ImageAnswers {
 public:
  // Of a model of `graph` for rows of its images. Refers to both.
  ImageAnswers(const causal::Graph& graph, const NodeRows& rows,
               std::vector<std::string> interventions);

  // What row `row` of the work (its place in `index`) shows in grey levels, mean over the pixels.
  struct Distance {
    double factual = 0;                        // of the counterfactual image to the factual one
    std::optional<double> truth{}, nothing{};  // of it to the true counterfactual, and of the
                                               // factual image
  };
  // The answers to intervention `d` for the rows from `begin` on.
  std::vector<Distance> add(size_t d, int64_t begin, const causal::NodeValues& factual,
                            const causal::NodeValues& counterfactual);

  // The first rows: factual, then for each intervention the counterfactual and, where it is known,
  // the truth. columns(): the images' numbers.
  std::vector<io::GridRow> rows() const;
  bool has_truth() const { return has_truth_; }
  std::vector<std::string> columns() const;
  // OUT/images.npz: factual [N,H,W,C], counterfactual and truth [D,N,H,W,C] (truth NaN where nobody
  // knows it). OUT/grid.png: the first rows.
  void write(const std::filesystem::path& out, const std::string& title) const;

 private:
  static constexpr int64_t kShown = 10;

  const causal::Graph& graph_;
  const NodeRows& rows_;
  causal::DatasetNodes nodes_;
  std::vector<std::string> interventions_;
  bool has_truth_ = false;
  std::vector<float> factual_;
  std::vector<std::vector<float>> counterfactual_, truth_;  // by intervention
  std::vector<std::string> factual_captions_;
  std::vector<std::vector<std::string>> captions_;
};

}  // namespace diffscm::apps
