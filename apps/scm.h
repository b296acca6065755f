// diffscm scm: what its subcommands share.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/command.h"
#include "causal/model_folder.h"

namespace diffscm::apps {

// Each adds its subcommand to `scm`.
void add_scm_show(CLI::App& scm, Common& common);
void add_scm_query(CLI::App& scm, Common& common);
void add_scm_fit(CLI::App& scm, Common& common);
void add_scm_sample(CLI::App& scm, Common& common);
void add_scm_counterfactual(CLI::App& scm, Common& common);
void add_scm_evaluate(CLI::App& scm, Common& common);

// A table of a graph's columns.
struct TableFlags {
  std::string data{}, index = ":";
  bool drop_missing = false;
};

// Rows of a table as the values of all nodes (of latent ones none), without missing values.
struct NodeRows {
  causal::NodeValues values;
  std::vector<int64_t> index;  // of each row in the file
};
// Throws Error for rows with missing values, counted, unless they are to be dropped, and when none
// is left.
NodeRows read_rows(Common& common, const TableFlags& flags, const causal::Graph& graph);

// A graph from a file, the folder of a model, or the name of one that came along ("asia"); what a
// person should know about how it was read is said.
causal::Graph read_graph_for(Common& common, const std::string& path);
// A model and what a person should know about how it was read, which is said.
causal::StructuralCausalModel read_model_for(Common& common, const std::string& path);

// Values as a table under the columns' names; of latent nodes under their own.
data::Table to_table(const causal::Graph& graph, const causal::NodeValues& values);

// One value as JSON: the state's name or the number.
nlohmann::ordered_json json_of(const causal::Node& node, double value);

// run.json of a command about a model in a file or folder.
void write_scm_run(const std::string& out, const Common& common,
                   const nlohmann::ordered_json& options, const causal::Graph& graph,
                   const nlohmann::ordered_json& summary);

}  // namespace diffscm::apps
