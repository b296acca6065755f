// diffscm scm evaluate, of a graph with an image in it: how good its counterfactual images are.
#include <fmt/format.h>

#include <chrono>
#include <iterator>
#include <optional>
#include <sstream>

#include "apps/output_folder.h"
#include "apps/scm_evaluate.h"
#include "apps/shipped_models.h"
#include "causal/mechanisms/image_diffusion.h"
#include "engine/io/file.h"
#include "engine/io/json.h"

namespace diffscm::apps {
namespace {

using Json = nlohmann::ordered_json;

// Who reads attributes off images: the world of the data, and networks, NODE=MODEL each.
std::vector<ImageReader> readers(const std::vector<std::string>& judges, const causal::Graph& graph,
                                 const data::Dataset& dataset, const causal::DatasetNodes& nodes,
                                 Target target) {
  std::vector<ImageReader> all;
  if (dataset.world != nullptr) all.push_back({"measured", world_reader(graph, dataset, nodes)});
  std::vector<NodeJudge> networks;
  for (const std::string& text : judges) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos)
      throw UsageError(fmt::format("--judge {}: give NODE=MODEL", io::show(text)));
    const size_t node = as_usage([&] { return graph.find(text.substr(0, equals)); });
    networks.emplace_back(graph, node, find_model(text.substr(equals + 1)), dataset, target);
  }
  if (!networks.empty())
    all.push_back({"judged", judge_reader(std::move(networks), graph.size(), dataset, target)});
  return all;
}

// The network that a flag names, or the shipped one of the data.
template <class Network>
std::optional<LoadedModel<Network>> network(const std::string& given, const std::string& data,
                                            Target target) {
  const std::optional<std::filesystem::path> file =
      given.empty() ? shipped_model(fmt::format("{}-{}", data, Network::kKind)) : given;
  if (!file) return std::nullopt;
  return load_model<Network>(file->string(), target);
}

// What blanks part.
std::vector<std::string> words(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::string>(stream), {}};
}

}  // namespace

void evaluate_image_graph(Common& common, causal::StructuralCausalModel& model,
                          const ImageScmFlags& flags, const Json& options) {
  if (flags.rows.data.empty()) throw UsageError("--data is needed: images with attributes");
  const causal::Graph& graph = model.graph();
  const std::vector<std::string> names =
      flags.variants.empty() ? std::vector<std::string>{"as fitted"} : flags.variants;
  const NodeRows rows = read_rows(common, flags.rows, graph);
  const causal::DatasetNodes nodes(graph, *rows.dataset);
  causal::require_makes_images_of(*rows.dataset, model.mechanism(nodes.image()));
  const Target target = common.target();
  const std::vector<ImageReader> read = readers(flags.judges, graph, *rows.dataset, nodes, target);
  const auto vae = network<Vae>(flags.vae, flags.rows.data, target);
  const auto oracle = network<Oracle>(flags.oracle, flags.rows.data, target);
  const ImageReference reference(
      graph, data::load_dataset(flags.rows.data, data::Split::train, common.seed),
      {vae ? &vae->model : nullptr, oracle ? &oracle->model : nullptr, target});
  if (!flags.variants.empty())
    for (const std::string& name : names) apply_settings(model, words(name));  // or not at all
  if (read.empty())
    common.console.say(
        "nothing here reads attributes off images: --judge NODE=MODEL would (diffscm train "
        "oracle)");
  const OutputFolder folder(flags.out, "scm evaluate");
  const std::filesystem::path out = flags.out;
  std::vector<ImageVariant> variants;
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  for (const std::string& name : names) {
    if (!flags.variants.empty()) apply_settings(model, words(name));
    const double before = elapsed();
    variants.push_back({name,
                        evaluate_images(model, *rows.dataset, rows.index, reference, read,
                                        {.seed = common.seed,
                                         .interventions = flags.interventions,
                                         .cycled_rows = flags.cycled,
                                         .batch = flags.batch,
                                         .progress =
                                             [&](int64_t done, int64_t total) {
                                               if (stop_requested()) throw Stopped{};
                                               const double all = static_cast<double>(total),
                                                            now = static_cast<double>(done);
                                               common.console.progress(
                                                   "evaluate", now, all,
                                                   (elapsed() - before) / now * (all - now), name);
                                             }}),
                        {}});
    common.console.finish_progress();
    if (!flags.compat.empty())
      variants.back().benchmark = benchmark_definitions(graph, variants.back().evaluation,
                                                        reference, flags.batch, common.seed);
    if (!common.json && !common.quiet) print(variants.back());
  }
  Json summary = {{"variants", Json::array()}, {"seconds", elapsed()}};
  for (const ImageVariant& variant : variants) {
    Json one = {{"variant", variant.name}};
    one.update(to_json(variant.evaluation));
    if (variant.benchmark) one["benchmark"] = to_json(*variant.benchmark);
    summary["variants"].push_back(std::move(one));
  }
  io::atomic_write(out / "summary.json", io::dump(summary, 2) + "\n");
  io::atomic_write(out / "summary.csv", image_csv(variants));
  io::atomic_write(out / "report.html", image_report(flags, variants));
  write_scm_run(flags.out, common, options, graph, summary);
  if (common.json)
    fmt::print("{}\n", io::dump(summary));
  else if (!common.quiet)
    fmt::print("report: {}\n", (out / "report.html").string());
}

}  // namespace diffscm::apps
