// diffscm scm counterfactual: what rows of data would have been under do().
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <optional>
#include <set>

#include "apps/inference.h"
#include "apps/output_folder.h"
#include "apps/scm.h"
#include "apps/scm_report.h"
#include "causal/mechanisms/image_diffusion.h"
#include "causal/parse_intervention.h"
#include "engine/io/file.h"
#include "engine/io/json.h"

namespace diffscm::apps {
namespace {

using Json = nlohmann::ordered_json;

struct Flags {
  std::string model, format = "csv", out;
  std::vector<std::string> interventions, settings;
  RowFlags rows{.index = ""};
  int64_t batch = 16;
  bool report = false;
  template <class V>
  void visit(V&& flag) {
    flag("model", &model,
         "the model: a folder made by scm fit, or a graph that says everything, by file or name",
         {.required = true, .positional = true, .value = "FILE"});
    rows.visit(flag, "observed", {.required = true}, "the factual rows");
    flag("do", &interventions,
         "set nodes: flu=no,income=natural*1.1; as often as there are questions",
         {.required = true, .value = "NODE=VALUE,.."});
    flag("set", &settings, "change a mechanism, as often as needed: image.scale=1.3",
         {.value = "NODE.KEY=VALUE", .otherwise = "as fitted"});
    flag("batch", &batch, "images at once", {.least = 1, .most = 1e6});
    flag("format", &format, "of the table", {.choices = {"csv", "npz"}});
    flag("report", &report, "of images: also write OUT/report.html, one page to look at");
    flag("out", &out, "output folder", {.required = true, .value = "DIR"});
  }
};

struct Question {
  std::string text;
  causal::Intervention set;
  std::vector<causal::NodeValues> answers{};  // by batch
  int64_t changed = 0;                        // values of tabular nodes
  std::vector<double> l1{}, truth{}, nothing{};
};

std::vector<Question> parse_questions(const Flags& flags, const causal::Graph& graph) {
  std::vector<Question> questions;
  for (const std::string& text : flags.interventions) {
    questions.push_back({text, as_usage([&] { return causal::parse_intervention(text, graph); })});
    if (questions.back().set.empty()) throw UsageError("--do sets nothing: give NODE=VALUE");
  }
  if (questions.size() > 1 && std::ranges::count(graph.nodes(), "do", &causal::Node::column) > 0)
    throw UsageError(
        "several --do need a column \"do\" in the table, which is a node's: give one --do at a "
        "time");
  return questions;
}

// The noise of one row: a number, or several; of images none, there are too many.
Json noise_of(const causal::Values& noise, size_t row) {
  if (noise.rows() == 0 || noise.is_image()) return {};
  const auto width = static_cast<size_t>(noise.width);
  if (width == 1) return noise.numbers[row];
  Json all = Json::array();
  for (size_t k = 0; k < width; ++k) all.push_back(noise.numbers[row * width + k]);
  return all;
}

Json line_of(const causal::Graph& graph, const causal::NodeValues& factual,
             const causal::NodeValues& noise, const causal::Prediction& answer, size_t row) {
  Json nodes = Json::object();
  for (size_t i = 0; i < graph.size(); ++i) {
    const causal::Node& node = graph[i];
    if (node.kind == causal::NodeKind::image) continue;
    const auto value = [&](const causal::NodeValues& values) {
      return json_of(node, values[i].numbers[row]);
    };
    nodes[node.name()] = {{"factual", value(factual)},
                          {"natural", value(answer.natural)},
                          {"counterfactual", value(answer.value)},
                          {"noise", noise_of(noise[i], row)}};
  }
  return nodes;
}

int64_t changed_values(const causal::NodeValues& a, const causal::NodeValues& b) {
  int64_t changed = 0;
  for (size_t i = 0; i < a.size(); ++i)
    for (size_t row = 0; row < a[i].numbers.size(); ++row)
      changed += a[i].numbers[row] != b[i].numbers[row];
  return changed;
}

// All answers in one table; of several questions the first column is which.
data::Table table_of(const causal::Graph& graph, const std::vector<Question>& questions) {
  std::vector<data::Table> parts;
  std::vector<double> which;
  for (size_t q = 0; q < questions.size(); ++q)
    for (const causal::NodeValues& values : questions[q].answers) {
      parts.push_back(to_table(graph, values));
      which.insert(which.end(), static_cast<size_t>(parts.back().rows()), static_cast<double>(q));
    }
  data::Table all;
  if (questions.size() > 1) {
    data::Attribute question{.name = "do"};
    for (const Question& q : questions) question.states.push_back(q.text);
    all.add(std::move(question), data::Values(std::move(which)));
  }
  for (size_t c = 0; c < parts[0].columns().size(); ++c) {
    std::vector<double> numbers;
    for (const data::Table& part : parts) {
      const std::vector<double>& more = part.columns()[c].values.numbers;
      numbers.insert(numbers.end(), more.begin(), more.end());
    }
    all.add(parts[0].columns()[c].attribute, data::Values(std::move(numbers)));
  }
  return all;
}

Json summarise(const std::vector<Question>& questions, const std::string& table) {
  Json answers = Json::array();
  int64_t changed = 0;
  for (const Question& q : questions) {
    changed += q.changed;
    Json answer = {{"do", q.text}, {"changed_values", q.changed}};
    if (!q.l1.empty()) answer["l1_median"] = median(q.l1);
    if (!q.truth.empty()) {
      const auto mean = [](const std::vector<double>& v) {
        return std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(v.size());
      };
      answer["truth_l1_mean"] = mean(q.truth);
      answer["nothing_l1_mean"] = mean(q.nothing);
    }
    answers.push_back(std::move(answer));
  }
  return {{"changed_values", changed}, {"answers", answers}, {"table", table}};
}

void print(const std::vector<Question>& questions, const Json& summary) {
  for (size_t q = 0; q < questions.size(); ++q) {
    const Json& answer = summary["answers"][q];
    std::string text =
        fmt::format("do({}): {} values changed", questions[q].text, questions[q].changed);
    if (answer.contains("l1_median"))
      text += fmt::format("; images by L1 {:.2f}", answer["l1_median"].get<double>());
    if (answer.contains("truth_l1_mean"))
      text += fmt::format("; to the truth {:.2f}, doing nothing {:.2f}",
                          answer["truth_l1_mean"].get<double>(),
                          answer["nothing_l1_mean"].get<double>());
    fmt::print("{}\n", text);
  }
}

void add_distance(const ImageAnswers::Distance& d, Json& line, Question& question) {
  line["l1"] = d.factual;
  question.l1.push_back(d.factual);
  if (!d.truth) return;
  line["truth_l1"] = *d.truth;
  line["nothing_l1"] = *d.nothing;
  question.truth.push_back(*d.truth);
  question.nothing.push_back(*d.nothing);
}

// The archive and the picture, and the page if asked for.
void write_images(const Common& common, const Flags& flags, causal::StructuralCausalModel& model,
                  const NodeRows& rows, const std::vector<Question>& questions,
                  const ImageAnswers& images) {
  const causal::Graph& graph = model.graph();
  const std::filesystem::path out = flags.out;
  const std::string source = std::filesystem::path(flags.rows.data).filename().string();
  images.write(out, graph.name().empty() || graph.name() == source
                        ? source
                        : fmt::format("{}: {}", graph.name(), source));
  if (!flags.report) return;
  std::vector<std::pair<std::string, causal::Intervention>> asked;
  for (const Question& q : questions) asked.emplace_back(q.text, q.set);
  write_scm_report(
      out, model, rows, asked, images, common.seed,
      {{"model", flags.model},
       {"images", source},
       {"mechanism",
        model.mechanism(causal::DatasetNodes(graph, *rows.dataset).image()).description()}});
}

void run(Common& common, Flags flags) {
  causal::StructuralCausalModel model = read_model_for(common, flags.model, flags.settings);
  const causal::Graph& graph = model.graph();
  for (const causal::Node& node : graph.nodes())
    require(!node.is_latent(), "node {} is latent: a counterfactual needs every factual value",
            node.name());
  std::vector<Question> questions = parse_questions(flags, graph);
  std::vector<causal::Intervention> asked;
  for (const Question& q : questions) asked.push_back(q.set);
  const NodeRows rows = read_rows(common, flags.rows, graph);
  if (flags.report && !rows.dataset)
    throw UsageError("--report shows images, and the graph has none");
  if (rows.dataset)
    causal::require_makes_images_of(
        *rows.dataset, model.mechanism(causal::DatasetNodes(graph, *rows.dataset).image()));
  const std::filesystem::path out = flags.out;
  std::optional<OutputFolder> folder;
  for (const char* written : {"counterfactuals.csv", "counterfactuals.npz"})
    keep_input(out / written, flags.rows.data, "the table of factual rows");
  const auto open = [&] { folder.emplace(flags.out, "scm counterfactual"); };
  // Images take long, and begin with a folder that can be written to. Nothing is written, nor taken
  // away, before every row has its answer.
  if (rows.dataset) open();
  std::optional<ImageAnswers> images;
  if (rows.dataset) images.emplace(graph, rows, flags.interventions);

  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  const auto total = std::ssize(rows.index), size = images ? flags.batch : total;
  std::set<std::string> warnings;
  std::string lines;
  for (int64_t begin = 0; begin < total; begin += size) {
    const int64_t end = std::min(total, begin + size);
    const auto report = [&](size_t part) {
      if (stop_requested()) throw Stopped{};
      const double share = static_cast<double>(part) / static_cast<double>(questions.size() + 1);
      const double done = static_cast<double>(begin) + share * static_cast<double>(end - begin);
      if (images && done > 0)
        common.console.progress("counterfactual", done, static_cast<double>(total),
                                elapsed() / done * (static_cast<double>(total) - done), "");
    };
    std::vector<int64_t> places(static_cast<size_t>(end - begin));
    std::iota(places.begin(), places.end(), begin);
    const causal::NodeValues factual = causal::select_rows(rows.values, places);
    const causal::Rows which{common.seed, {rows.index.begin() + begin, rows.index.begin() + end}};
    report(0);
    const causal::NodeValues noise = model.abduct(factual, which, asked);
    std::vector<causal::Prediction> answers;
    for (const Question& question : questions) {
      report(1 + answers.size());
      answers.push_back(model.counterfactual(factual, noise, question.set));
    }
    for (size_t q = 0; q < questions.size(); ++q) {
      Question& question = questions[q];
      causal::Prediction& answer = answers[q];
      for (size_t i = 0; i < graph.size(); ++i)
        for (const std::string& w :
             model.mechanism(i).warnings(model.parent_values(i, answer.value)))
          if (warnings.insert(w).second) common.console.say("warning: " + w);
      std::vector<ImageAnswers::Distance> distances;
      if (images) distances = images->add(q, begin, factual, answer.value);
      for (size_t row = 0; row < places.size(); ++row) {
        Json line = {{"index", which.index[row]}};
        if (questions.size() > 1) line["do"] = question.text;
        line["nodes"] = line_of(graph, factual, noise, answer, row);
        if (images) add_distance(distances[row], line, question);
        lines += io::dump(line) + "\n";
      }
      question.changed += changed_values(factual, answer.value);
      for (causal::Values& v : answer.value) v.images = {};
      question.answers.push_back(std::move(answer.value));
    }
  }
  if (images) common.console.finish_progress();

  if (!folder) open();
  folder->clear(
      {"counterfactuals.csv", "counterfactuals.npz", "images.npz", "grid.png", "report.html"});
  io::atomic_write(out / "results.jsonl", lines);
  const std::string table = "counterfactuals." + flags.format;
  data::write_table(out / table, table_of(graph, questions));
  if (images) write_images(common, flags, model, rows, questions, *images);
  Json summary = {{"rows", total}};
  summary.update(summarise(questions, table));
  summary["seconds"] = elapsed();
  Json mechanisms = Json::object();
  for (size_t i = 0; i < graph.size(); ++i)
    mechanisms[graph[i].name()] = model.mechanism(i).description();
  summary["mechanisms"] = mechanisms;
  write_scm_run(flags.out, common, echo(flags), graph, summary);
  if (common.json) {
    fmt::print("{}\n", io::dump(summary));
  } else if (!common.quiet) {
    print(questions, summary);
    fmt::print("{} rows in {:.1f} s: {}\n", total, elapsed(),
               (out / (images ? "grid.png" : table)).string());
  }
}

}  // namespace

void add_scm_counterfactual(CLI::App& scm, Common& common) {
  add_command<Flags>(scm, "counterfactual", "What rows of data would have been under do()", common,
                     run);
}

}  // namespace diffscm::apps
