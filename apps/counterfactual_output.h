// What `counterfactual` writes and prints of its answers, beside the page: an archive, a picture,
// one line for each image and scale, a summary.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/counterfactual_report.h"

namespace diffscm::apps {

// OUT/counterfactuals.npz with all images, and OUT/grid.png with the first of them.
void write_images(const std::filesystem::path& out, const std::string& title,
                  const std::vector<double>& scales, const Query& query, const Images& images,
                  const std::vector<Outcome>& outcomes);

std::vector<nlohmann::ordered_json> result_lines(const std::vector<double>& scales,
                                                 const Query& query,
                                                 const std::vector<Outcome>& outcomes);

// Over all images: the round trip, and at each scale L1 and how many answers show the target.
nlohmann::ordered_json summarise(const std::vector<double>& scales, const Query& query,
                                 const std::vector<Outcome>& outcomes, double seconds);
// That for people, on the standard output.
void print_table(const std::filesystem::path& out, const Query& query, AbductionMethod abduction,
                 const nlohmann::ordered_json& summary);

}  // namespace diffscm::apps
