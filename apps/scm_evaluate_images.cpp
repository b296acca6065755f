// diffscm scm evaluate, of a graph with an image in it: how good its counterfactual images are.
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <iterator>
#include <sstream>

#include "apps/output_folder.h"
#include "apps/report/document.h"
#include "apps/scm_evaluate.h"
#include "apps/shipped_models.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "evaluation/scm/image_evaluation.h"
#include "models/checkpoint.h"
#include "models/oracle.h"

namespace diffscm::apps {
namespace {

using Json = nlohmann::ordered_json;

// What classifiers of clean images read, NODE=MODEL each.
AttributeReader judges(const std::vector<std::string>& given, const causal::Graph& graph,
                       const data::Dataset& dataset, Target target) {
  struct One {
    size_t node;
    std::shared_ptr<const LoadedModel<Oracle>> oracle;
  };
  std::vector<One> all;
  for (const std::string& text : given) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos)
      throw UsageError(fmt::format("--judge {}: give NODE=MODEL", io::show(text)));
    const size_t node = as_usage([&] { return graph.find(text.substr(0, equals)); });
    const auto oracle = std::make_shared<const LoadedModel<Oracle>>(
        load_model<Oracle>(find_model(text.substr(equals + 1)), target));
    const OracleConfig& c = oracle->model.config();
    require(c.image_size == dataset.height && c.in_channels == dataset.channels &&
                c.classes == std::ssize(graph[node].attribute.states),
            "--judge {}: it reads {} classes off images of {}x{}x{}", text, c.classes, c.image_size,
            c.image_size, c.in_channels);
    all.push_back({node, oracle});
  }
  return [all, target, count = graph.size(), height = dataset.height, width = dataset.width,
          channels = dataset.channels](int64_t, std::span<const float> image) {
    std::vector<double> read(count, std::nan(""));
    for (const One& one : all) {
      const ClassProbabilities p = one.oracle->model.probabilities(
          Tensor::from(image, {1, height, width, channels}, target));
      read[one.node] =
          static_cast<double>(std::max_element(p[0].begin(), p[0].end()) - p[0].begin());
    }
    return read;
  };
}

// What blanks part.
std::vector<std::string> words(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::string>(stream), {}};
}

std::string shown(double x, int decimals = 2) {
  return std::isfinite(x) ? fmt::format("{:.{}f}", x, decimals) : "-";
}

// Accuracy in per cent, errors in the attribute's unit.
std::string shown(const AttributeScore& a, double x) {
  return a.category && std::isfinite(x) ? fmt::format("{:.1f}%", 100 * x) : shown(x, 3);
}

struct Variant {
  std::string name;
  ImageEvaluation evaluation;
};

std::string to_csv(const std::vector<Variant>& variants) {
  std::string text = "variant,do,metric,value,floor\n";
  for (const auto& [name, e] : variants) {
    const auto line = [&](const std::string& node, const std::string& metric, double value,
                          double floor) {
      if (std::isfinite(value))
        text += fmt::format("\"{}\",\"{}\",{},{:.9g},{}\n", name, node, metric, value,
                            std::isfinite(floor) ? fmt::format("{:.9g}", floor) : "");
    };
    const double none = std::nan("");
    line("", "composition_1", e.composition_1, none);
    line("", "composition_10", e.composition_10, none);
    for (const ImageInterventionScore& s : e.interventions) {
      line(s.node, "l1_factual", s.distance.factual, none);
      line(s.node, "l1_truth", s.distance.truth, none);
      line(s.node, "l1_truth_of_doing_nothing", s.distance.nothing, none);
      line(s.node, "l1_truth_of_random_image", s.distance.random, none);
      for (const AttributeScore& a : s.attributes)
        line(s.node, (a.category ? "accuracy_" : "mae_") + a.node, a.score, a.floor);
    }
  }
  return text;
}

std::string report_of(const ImageScmFlags& flags, const std::vector<Variant>& variants) {
  Document page("How good are these counterfactual images?");
  page.facts({{"model", flags.model}, {"data", flags.rows.data}, {"rows", flags.rows.index}});
  page.section("Distances");
  page.paragraph(
      "Mean absolute differences in grey levels. The truth is the true counterfactual image under "
      "the same attributes, where the data come from a world that knows it; beside it stand doing "
      "nothing and a random true image with the nearest attributes. Composition is the distance of "
      "an image to itself after one and after ten round trips through its noise.");
  Table distances{{{"to the factual", "how much changes", 0},
                   {"to the truth", "of the counterfactual", -1},
                   {"doing nothing", "of the factual image to the truth", 0},
                   {"random", "of a true image with the nearest attributes to the truth", 0},
                   {"composition 1", "after one round trip", -1},
                   {"composition 10", "after ten", -1}},
                  {}};
  for (const auto& [name, e] : variants)
    for (const ImageInterventionScore& s : e.interventions)
      distances.rows.push_back({fmt::format("{} do({})", name, s.node),
                                {{shown(s.distance.factual)},
                                 {shown(s.distance.truth)},
                                 {shown(s.distance.nothing)},
                                 {shown(s.distance.random)},
                                 {shown(e.composition_1, 3)},
                                 {shown(e.composition_10, 3)}}});
  page.table(distances);
  page.section("Attributes");
  page.paragraph(
      "What is read off the counterfactual image, against what the graph says it is: the share "
      "that is right, or the mean absolute error. The floor is what reading true images gives.");
  Table attributes{{{"read", "of the counterfactual image", 0},
                    {"floor", "of true images", 0},
                    {"unchanged image", "the factual image against the same values", 0}},
                   {}};
  for (const auto& [name, e] : variants)
    for (const ImageInterventionScore& s : e.interventions)
      for (const AttributeScore& a : s.attributes)
        if (std::isfinite(a.score))
          attributes.rows.push_back(
              {fmt::format("{} do({}): {}{}", name, s.node, a.node,
                           a.set ? ", set" : (a.moved ? ", follows" : ", stays")),
               {{shown(a, a.score)}, {shown(a, a.floor)}, {shown(a, a.unchanged)}}});
  page.table(attributes);
  return page.html();
}

void print(const Variant& variant) {
  const ImageEvaluation& e = variant.evaluation;
  fmt::print("{}: composition {} after 1 round trip, {} after 10; {:.2f} s an image\n",
             variant.name, shown(e.composition_1, 3), shown(e.composition_10, 3),
             e.seconds_per_image);
  for (const ImageInterventionScore& s : e.interventions) {
    fmt::print("  do({}): L1 {} to the factual, {} to the truth (doing nothing {}, random {})\n",
               s.node, shown(s.distance.factual), shown(s.distance.truth),
               shown(s.distance.nothing), shown(s.distance.random));
    for (const AttributeScore& a : s.attributes)
      if (std::isfinite(a.score))
        fmt::print("    {:>12} {:8} {:>8}, floor {}, unchanged image {}\n", a.node,
                   a.set     ? "set"
                   : a.moved ? "follows"
                             : "stays",
                   shown(a, a.score), shown(a, a.floor), shown(a, a.unchanged));
  }
}

}  // namespace

void evaluate_image_graph(Common& common, causal::StructuralCausalModel& model,
                          const ImageScmFlags& flags, const Json& options) {
  if (flags.rows.data.empty()) throw UsageError("--data is needed: images with attributes");
  const causal::Graph& graph = model.graph();
  const std::vector<std::string> names =
      flags.variants.empty() ? std::vector<std::string>{"as fitted"} : flags.variants;
  const OutputFolder folder(flags.out, "scm evaluate");
  const std::filesystem::path out = flags.out;
  const NodeRows rows = read_rows(common, flags.rows, graph);
  const data::Dataset reference =
      data::load_dataset(flags.rows.data, data::Split::train, common.seed);
  const causal::DatasetNodes nodes(graph, *rows.dataset);
  AttributeReader reader = judges(flags.judges, graph, *rows.dataset, common.target());
  if (rows.dataset->world != nullptr)
    reader = either(world_reader(graph, *rows.dataset, nodes), std::move(reader));
  std::vector<Variant> variants;
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  for (const std::string& name : names) {
    if (!flags.variants.empty()) apply_settings(model, words(name));
    const double before = elapsed();
    variants.push_back({name, evaluate_images(model, *rows.dataset, rows.index, reference, reader,
                                              {.seed = common.seed,
                                               .interventions = flags.interventions,
                                               .cycled_rows = flags.cycled,
                                               .batch = flags.batch,
                                               .progress = [&](int64_t done, int64_t total) {
                                                 if (stop_requested()) throw Stopped{};
                                                 const double all = static_cast<double>(total),
                                                              now = static_cast<double>(done);
                                                 common.console.progress(
                                                     "evaluate", now, all,
                                                     (elapsed() - before) / now * (all - now),
                                                     name);
                                               }})});
    common.console.finish_progress();
    if (!common.json && !common.quiet) print(variants.back());
  }
  Json summary = {{"variants", Json::array()}, {"seconds", elapsed()}};
  for (const auto& [name, e] : variants) {
    Json one = {{"variant", name}};
    one.update(to_json(e));
    summary["variants"].push_back(std::move(one));
  }
  io::atomic_write(out / "summary.json", io::dump(summary, 2) + "\n");
  io::atomic_write(out / "summary.csv", to_csv(variants));
  io::atomic_write(out / "report.html", report_of(flags, variants));
  write_scm_run(flags.out, common, options, graph, summary);
  if (common.json)
    fmt::print("{}\n", io::dump(summary));
  else if (!common.quiet)
    fmt::print("report: {}\n", (out / "report.html").string());
}

}  // namespace diffscm::apps
