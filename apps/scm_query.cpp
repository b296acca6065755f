// diffscm scm query: seeing, doing and imagining, exactly where a graph allows it.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "apps/output_folder.h"
#include "apps/scm.h"
#include "causal/query.h"
#include "data/index_range.h"
#include "data/table.h"
#include "engine/io/ending.h"
#include "engine/io/file.h"
#include "engine/io/json.h"

namespace diffscm::apps {
namespace {

using Json = nlohmann::ordered_json;

struct Flags {
  std::string graph, out;
  causal::QueryText text;
  RowFlags table{.index = ""};
  int64_t samples = 0;
  template <class V>
  void visit(V&& flag) {
    flag("graph", &graph, "a graph's file, a folder made by scm fit, or a shipped graph's name",
         {.required = true, .positional = true, .value = "FILE"});
    flag("of", &text.of, "what is asked: flu=1, flu, 'income>50', income",
         {.required = true, .value = "NODE|NODE=VALUE,.."});
    flag("given", &text.given, "what is known in the world of do(): age=27",
         {.value = "NODE=VALUE,..", .otherwise = "nothing"});
    flag("observed", &text.observed,
         "what was seen before do(): age=27,flu=0, or a table's rows: .csv or .npz",
         {.value = "NODE=VALUE,..|FILE", .otherwise = "nothing"});
    flag("do", &text.set, "what is set: vaccinated=0,income=natural*1.1,'severity=(high->low)'",
         {.value = "NODE=VALUE,..", .otherwise = "nothing"});
    flag("samples", &samples, "draw so many, and do not look for an exact answer",
         {.least = 1, .most = 1e9, .otherwise = "exact, or 100000"});
    table.visit_index(flag);
    flag("drop-missing", &table.drop_missing, "leave out rows that lack a value");
    flag("out", &out, "write the answers to a table: .csv or .npz",
         {.value = "FILE", .otherwise = "to the screen"});
  }
};

// Of an exact number ten behind the point; of a sampled one six, or those that its interval leaves.
int digits_of(const causal::Line& line, bool exact) {
  const double size = std::log10(std::abs(line.value));  // -inf of 0
  if (exact) return static_cast<int>(std::clamp(10 + size, 10.0, 15.0));
  const double half = (line.high - line.low) / 2;
  return half > 0 ? static_cast<int>(std::clamp(3 + size - std::log10(half), 6.0, 15.0)) : 6;
}

std::string in_words(const causal::Line& line, bool exact) {
  const int digits = digits_of(line, exact);
  std::string text = fmt::format("{:.{}g}", line.value, digits);
  if (!exact) text += fmt::format("  ({:.{}g} to {:.{}g})", line.low, digits, line.high, digits);
  return text;
}

Json to_json(const causal::Answer& a) {
  Json lines = Json::array();
  for (const causal::Line& line : a.lines)
    lines.push_back(
        {{"of", line.of}, {"value", line.value}, {"low", line.low}, {"high", line.high}});
  Json j = {{"question", a.question},
            {"rung", name_of(a.rung)},
            {"exact", a.exact},
            {"method", a.method},
            {"answers", lines}};
  if (a.exact) j["evidence"] = a.evidence;
  if (!a.exact) {
    j["samples"] = a.samples;
    j["effective_samples"] = a.effective;
  }
  return j;
}

void print(const causal::Answer& a) {
  if (a.lines.size() == 1) {
    fmt::print("{} = {}\n", a.question, in_words(a.lines[0], a.exact));
  } else {
    size_t width = 0;
    for (const causal::Line& line : a.lines) width = std::max(width, line.of.size());
    fmt::print("{}\n", a.question);
    for (const causal::Line& line : a.lines)
      fmt::print("  {:{}}  {}\n", line.of, width, in_words(line, a.exact));
  }
  fmt::print("{}; {}\n", name_of(a.rung), a.method);
  if (a.exact && a.evidence < 1) fmt::print("the evidence has probability {:.6g}\n", a.evidence);
}

bool is_table(const std::string& observed) {
  const std::string ending = io::ending_of(observed);
  return ending == ".csv" || ending == ".npz";
}

void ask_rows(Common& common, Flags flags, const causal::StructuralCausalModel& model,
              const causal::AnswerOptions& options) {
  const causal::Graph& graph = model.graph();
  const NodeRows rows = read_rows(common, flags.table, graph);
  data::Table table;
  std::vector<std::vector<double>> columns;
  std::vector<double> index;
  causal::Answer a;
  for (size_t row = 0; row < rows.index.size(); ++row) {
    if (stop_requested()) throw Stopped();
    std::map<size_t, double> known;
    for (size_t i = 0; i < graph.size(); ++i)
      if (!graph[i].is_latent() && !rows.values[i].is_image())
        known.emplace(i, rows.values[i].numbers[row]);
    try {
      a = causal::answer(model, flags.text, options, known);
    } catch (const Error& e) {
      fail("row {}: {}", rows.index[row], e.what());
    }
    index.push_back(static_cast<double>(rows.index[row]));
    columns.resize(3 * a.lines.size());
    for (size_t k = 0; k < a.lines.size(); ++k) {
      columns[3 * k].push_back(a.lines[k].value);
      columns[3 * k + 1].push_back(a.lines[k].low);
      columns[3 * k + 2].push_back(a.lines[k].high);
    }
    if (common.json) {
      Json line = {{"index", rows.index[row]}};
      line.update(to_json(a));
      fmt::print("{}\n", io::dump(line));
    } else if (flags.out.empty()) {
      fmt::print("{}", rows.index[row]);
      for (const causal::Line& line : a.lines)
        fmt::print("  {} = {}", line.of, in_words(line, a.exact));
      fmt::print("\n");
    }
  }
  if (!flags.out.empty()) {
    table.add({.name = "index"}, data::Values(std::move(index)));
    for (size_t k = 0; k < a.lines.size(); ++k) {
      const std::string& of = a.lines[k].of;
      table.add({.name = of}, data::Values(std::move(columns[3 * k])));
      table.add({.name = of + " low"}, data::Values(std::move(columns[3 * k + 1])));
      table.add({.name = of + " high"}, data::Values(std::move(columns[3 * k + 2])));
    }
    data::write_table(flags.out, table);
  }
  if (!common.quiet && !common.json)
    fmt::print("{} rows; {}; {}\n", rows.index.size(), name_of(a.rung), a.method);
}

void run(Common& common, Flags flags) {
  const bool rows = is_table(flags.text.observed);
  if (!rows && !flags.out.empty())
    throw UsageError("--out is for the rows of a table: give one as --observed");
  if (!flags.out.empty() && !is_table(flags.out))
    throw UsageError(fmt::format("--out {}: give a .csv or an .npz", io::show(flags.out)));
  const causal::StructuralCausalModel model = read_model_for(common, flags.graph);
  if (rows) {
    flags.table.data = std::exchange(flags.text.observed, {});
    keep_input(flags.out, flags.table.data, "the table that is asked about");
  }
  as_usage([&] { causal::check_query(model.graph(), flags.text); });
  causal::AnswerOptions options{.demand_samples = flags.samples > 0};
  options.sampling.seed = common.seed;
  if (flags.samples > 0) options.sampling.samples = flags.samples;
  options.sampling.progress = [&](double done, double total) {
    if (stop_requested()) throw Stopped();
    if (total > 1) common.console.progress("samples", done, total, 0, "");
  };
  if (rows) return ask_rows(common, std::move(flags), model, options);
  const causal::Answer a = causal::answer(model, flags.text, options);
  common.console.finish_progress();
  if (common.json)
    fmt::print("{}\n", io::dump(to_json(a)));
  else
    print(a);
}

}  // namespace

void add_scm_query(CLI::App& scm, Common& common) {
  add_command<Flags>(scm, "query", "Ask: what is seen, what doing changes, what would have been",
                     common, run);
}

}  // namespace diffscm::apps
