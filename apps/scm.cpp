#include "apps/scm.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>

#include "apps/notes.h"
#include "apps/output_folder.h"
#include "apps/shipped_models.h"
#include "causal/dataset_nodes.h"
#include "causal/fit_scm.h"
#include "causal/formats/graph_file.h"
#include "data/image_source.h"
#include "data/index_range.h"
#include "engine/io/file.h"
#include "engine/io/json.h"

namespace diffscm::apps {

using Json = nlohmann::ordered_json;

namespace {

std::vector<int64_t> rows_asked(const RowFlags& flags, int64_t rows) {
  require(rows > 0, "{} has no row", io::show(flags.data));
  return as_usage([&] { return data::index_range_or_first(flags.index, RowFlags::kFirst, rows); });
}

NodeRows read_images(Common& common, const RowFlags& flags, const causal::Graph& graph) {
  if (flags.drop_missing)
    throw UsageError("--drop-missing is for tables: images without a value have to be taken out");
  auto dataset = std::make_shared<const data::Dataset>(
      data::load_dataset(flags.data, data::parse_split(flags.split), common.seed));
  say_notes(common, *dataset);
  std::vector<int64_t> index = rows_asked(flags, dataset->size());
  if (const auto& source = dataset->source; source && dataset->pixels.empty()) {
    const int64_t bytes = std::ssize(index) * (source->bytes_in_memory() / source->size());
    require(bytes <= source->memory_bytes(),
            "{}: scm holds the images that it is asked for, {} of which take {} MiB, more than "
            "memory={}: give fewer by --index, a smaller size=N or a larger memory=N",
            io::show(flags.data), index.size(), bytes >> 20, source->memory_bytes() >> 20);
  }
  return {causal::DatasetNodes(graph, *dataset).values(index), std::move(index), dataset};
}

}  // namespace

NodeRows read_rows(Common& common, const RowFlags& flags, const causal::Graph& graph) {
  if (causal::has_image(graph)) return read_images(common, flags, graph);
  const std::vector<data::Attribute> columns = graph.columns();
  const data::Table table = data::read_table(flags.data, columns);
  const std::vector<int64_t> asked = rows_asked(flags, table.rows());
  const data::Table chosen = table.select(asked);
  const std::vector<int64_t> complete = chosen.complete_rows();
  const auto missing = asked.size() - complete.size();
  require(missing == 0 || flags.drop_missing,
          "{}: {} of {} rows lack a value: give --drop-missing to go on without them",
          io::show(flags.data), missing, asked.size());
  require(!complete.empty(), "{}: no row has all values", io::show(flags.data));
  if (missing > 0)
    common.console.say(
        fmt::format("{} of {} rows lack a value and are left out", missing, asked.size()));
  NodeRows rows{causal::node_values(graph, chosen.select(complete)), {}, {}};
  for (const int64_t row : complete) rows.index.push_back(asked[static_cast<size_t>(row)]);
  return rows;
}

std::filesystem::path graph_file(const std::string& given) {
  const std::filesystem::path found = find_graph(given);
  return std::filesystem::is_directory(found) ? found / "graph.json" : found;
}

causal::Graph read_graph_for(Common& common, const std::string& path) {
  causal::GraphFile file = causal::read_graph(graph_file(path));
  for (const std::string& note : file.notes) common.console.say(note);
  return std::move(file.graph);
}

void check_mechanisms(const causal::Graph& graph, const std::string& path) {
  try {
    for (size_t i = 0; i < graph.size(); ++i)
      if (!graph[i].mechanism.name.empty() && graph[i].kind != causal::NodeKind::image)
        causal::make_mechanism(causal::role_of(graph, i));
  } catch (const Error& e) {
    fail("{}: {}", io::show(path), e.what());
  }
}

std::pair<std::string, nlohmann::json> parse_setting(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0)
    throw UsageError(fmt::format("--set {}: give KEY=VALUE", io::show(text)));
  const std::string value = text.substr(equals + 1);
  const auto parsed = nlohmann::json::parse(value, nullptr, /*allow_exceptions=*/false);
  return {text.substr(0, equals), parsed.is_discarded() ? nlohmann::json(value) : parsed};
}

void apply_settings(causal::StructuralCausalModel& model,
                    const std::vector<std::string>& settings) {
  std::map<size_t, nlohmann::json> changes;
  for (const std::string& setting : settings) {
    const auto [name, value] = parse_setting(setting);
    const size_t dot = name.rfind('.');
    if (dot == std::string::npos || dot == 0)
      throw UsageError(fmt::format("--set {}: give NODE.KEY=VALUE", io::show(setting)));
    const size_t node = as_usage([&] { return model.graph().find(name.substr(0, dot)); });
    changes[node][name.substr(dot + 1)] = value;
  }
  for (size_t i = 0; i < model.graph().size(); ++i) try {
      model.mechanism(i).configure(changes[i]);
    } catch (const Error& e) {
      throw UsageError(fmt::format("node {}: {}", io::show(model.graph()[i].name()), e.what()));
    }
}

causal::StructuralCausalModel read_model_for(Common& common, const std::string& path,
                                             const std::vector<std::string>& settings) {
  causal::ModelFile file = causal::load_model(find_graph(path));
  for (const std::string& note : file.notes) common.console.say(note);
  file.model.move_to(common.target(), common.layers());
  if (!settings.empty()) apply_settings(file.model, settings);
  return std::move(file.model);
}

data::Table to_table(const causal::Graph& graph, const causal::NodeValues& values) {
  data::Table table;
  for (size_t i = 0; i < graph.size(); ++i) {
    if (graph[i].kind == causal::NodeKind::image) continue;
    data::Attribute attribute = graph[i].attribute;
    if (!graph[i].is_latent()) attribute.name = graph[i].column;
    table.add(std::move(attribute), values[i]);
  }
  return table;
}

std::string attributes_of(const causal::Graph& graph, const causal::NodeValues& values,
                          const causal::NodeValues* factual, int64_t row) {
  const auto place = static_cast<size_t>(row);
  std::string text;
  for (size_t i = 0; i < graph.size(); ++i) {
    if (values[i].is_image() || graph[i].is_latent()) continue;
    const double value = values[i].numbers[place];
    const bool changed = factual != nullptr && value != (*factual)[i].numbers[place];
    text += fmt::format(
        "{}{}{} {}", text.empty() ? "" : "\n", changed ? "*" : "", graph[i].name(),
        graph[i].is_discrete() ? graph[i].attribute.show(value) : fmt::format("{:.3g}", value));
  }
  return text;
}

Json json_of(const causal::Node& node, double value) {
  if (std::isnan(value)) return {};
  return node.is_discrete() ? Json(node.attribute.show(value)) : Json(value);
}

void write_scm_run(const std::string& out, const Common& common, const Json& options,
                   const causal::Graph& graph, const Json& summary) {
  Json run = run_record(common, options);
  run["graph"] = causal::to_json(graph);
  run["summary"] = summary;
  io::atomic_write(std::filesystem::path(out) / "run.json", io::dump(run, 2) + "\n");
}

void add_scm(CLI::App& app, Common& common) {
  CLI::App& scm = *app.add_subcommand("scm", "Causal graphs over tables and images");
  scm.require_subcommand(1);
  add_scm_show(scm, common);
  add_scm_query(scm, common);
  add_scm_fit(scm, common);
  add_scm_sample(scm, common);
  add_scm_counterfactual(scm, common);
  add_scm_evaluate(scm, common);
}

}  // namespace diffscm::apps
