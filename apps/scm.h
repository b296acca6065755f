// diffscm scm: what its subcommands share.
#pragma once

#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/command.h"
#include "causal/model_folder.h"
#include "data/dataset.h"

namespace diffscm::apps {

// Each adds its subcommand to `scm`.
void add_scm_show(CLI::App& scm, Common& common);
void add_scm_query(CLI::App& scm, Common& common);
void add_scm_fit(CLI::App& scm, Common& common);
void add_scm_sample(CLI::App& scm, Common& common);
void add_scm_counterfactual(CLI::App& scm, Common& common);
void add_scm_evaluate(CLI::App& scm, Common& common);

// The data of a graph: a table of its columns or, where it has an image, images with attributes.
struct RowFlags {
  static constexpr int64_t kFirst = 100;  // rows, where index is empty
  std::string data{}, split = "test", index = ":";
  bool drop_missing = false;
  // Of a command that reads its rows from --NAME.
  template <class V>
  void visit(V&& flag, const char* name, FlagTraits traits, const char* what) {
    traits.value = "mnist|digits|morpho|faces|pendulum|FILE";
    flag(name, &data,
         fmt::format("{}: a table (.csv or .npz); of a graph with an image, images with attributes",
                     what)
             .c_str(),
         traits);
    flag("split", &split, "which part of the images", {.choices = {"train", "test"}});
    visit_index(flag);
    flag("drop-missing", &drop_missing, "leave out rows that lack a value");
  }
  template <class V>
  void visit_index(V&& flag) {
    flag("index", &index, "which rows: 7  0:100  :",
         {.value = "RANGE",
          .otherwise = index.empty() ? fmt::format("the first {}", kFirst) : "all"});
  }
};

// The values of all nodes (of latent ones none), without missing values.
struct NodeRows {
  causal::NodeValues values;
  std::vector<int64_t> index;                    // of each row in the data
  std::shared_ptr<const data::Dataset> dataset;  // of images; null: a table
};
// Throws Error for rows with missing values, counted, unless they are to be dropped, and when none
// is left.
NodeRows read_rows(Common& common, const RowFlags& flags, const causal::Graph& graph);

// Of a graph that is given by a file, the folder of a model, or the name of one that came along
// ("asia").
std::filesystem::path graph_file(const std::string& given);
// That graph; what a person should know about how it was read is said.
causal::Graph read_graph_for(Common& common, const std::string& path);
// Throws Error for a mechanism that its node cannot have, naming the file. Those of images are
// files, and large: they are made when they are needed.
void check_mechanisms(const causal::Graph& graph, const std::string& path);
// The model as it was fitted but for `settings`, NODE.KEY=VALUE each. Throws UsageError for one
// that is not understood or may not be changed.
void apply_settings(causal::StructuralCausalModel& model, const std::vector<std::string>& settings);
// A model on the command's device with these settings, and what a person should know about how it
// was read, which is said.
causal::StructuralCausalModel read_model_for(Common& common, const std::string& path,
                                             const std::vector<std::string>& settings = {});
// KEY=VALUE, the value as JSON or else as text. Throws UsageError.
std::pair<std::string, nlohmann::json> parse_setting(const std::string& text);

// Values as a table under the columns' names, of latent nodes under their own; without images.
data::Table to_table(const causal::Graph& graph, const causal::NodeValues& values);

// The tabular nodes of a row, a line each; with factual values a star before those that differ.
std::string attributes_of(const causal::Graph& graph, const causal::NodeValues& values,
                          const causal::NodeValues* factual, int64_t row);

// One value as JSON: the state's name or the number.
nlohmann::ordered_json json_of(const causal::Node& node, double value);

// run.json of a command about a model in a file or folder.
void write_scm_run(const std::string& out, const Common& common,
                   const nlohmann::ordered_json& options, const causal::Graph& graph,
                   const nlohmann::ordered_json& summary);

}  // namespace diffscm::apps
