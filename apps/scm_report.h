// The page of one `scm counterfactual` run on images.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "apps/scm_images.h"

namespace diffscm::apps {

// OUT/report.html, one page to look at: the graph under each do(), the first images with their
// attributes, and for the first few the film of abduction and prediction under the first do().
// Walks the chain again for the film.
void write_scm_report(const std::filesystem::path& out, causal::StructuralCausalModel& model,
                      const NodeRows& rows,
                      const std::vector<std::pair<std::string, causal::Intervention>>& questions,
                      const ImageAnswers& images, uint64_t seed,
                      const std::vector<std::pair<std::string, std::string>>& facts);

}  // namespace diffscm::apps
