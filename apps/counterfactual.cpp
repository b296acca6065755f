// diffscm counterfactual: abduction, action, prediction for images of a data set.
#include "causal/counterfactual.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "apps/inference.h"
#include "apps/output_folder.h"
#include "diffusion/batch.h"
#include "engine/io/npz.h"

namespace diffscm::apps {
namespace {

using Json = nlohmann::ordered_json;

struct Flags {
  std::string model, classifier, out, intervention, threshold = "none";
  DataFlags data;
  AbductionFlags abduction;
  CounterfactualOptions options;
  int64_t batch = 32;
};

// "digit=5" -> 5. The categorical parent of these images is their label; "class" and "label" name
// it too.
int64_t parse_intervention(const std::string& text, int64_t classes) {
  const size_t equals = text.find('=');
  const std::string parent = text.substr(0, equals);
  require(
      equals != std::string::npos && (parent == "digit" || parent == "class" || parent == "label"),
      "--do {}: expected digit=VALUE (or class=, label=)", text);
  const std::string value = text.substr(equals + 1);
  const bool number =
      !value.empty() && value.size() < 10 &&
      std::all_of(value.begin(), value.end(), [](char c) { return c >= '0' && c <= '9'; });
  require(number && std::stoll(value) < classes, "--do {}: '{}' is not a class from 0 to {}", text,
          value, classes - 1);
  return std::stoll(value);
}

// Everything about one image.
struct Outcome {
  int64_t index, label;
  double roundtrip_l1;
  Json residual, converged;  // null for plain DDIM, which does not measure them
  int evaluations;
  struct AtScale {
    double l1;
    int64_t predicted;
    double p_target;
  };
  std::vector<AtScale> at_scale;
};

struct Images {
  std::vector<Tensor> factual, latent, reconstruction;
  std::vector<std::vector<Tensor>> counterfactual;  // [scale][batch]
};

void run_batch(Common& common, const Flags& flags, const DiffusionModel& model,
               const AntiCausalPredictor& predictor, const Selection& selection, int64_t target,
               int64_t begin, std::vector<Outcome>& outcomes, Images& images) {
  const int64_t total = static_cast<int64_t>(selection.index.size()),
                end = std::min(total, begin + flags.batch);
  const std::vector<int64_t> index(selection.index.begin() + begin, selection.index.begin() + end);
  const Tensor factual = selection.dataset.images(index).to(model.target());
  const Intervention intervention{
      .gradient = predictor.gradient(std::vector<int64_t>(index.size(), target)),
      .conditional = {}};
  const int64_t batches = (total + flags.batch - 1) / flags.batch;
  const Counterfactual result =
      counterfactual(model.epsilon(), intervention, model.chain(), factual, flags.options,
                     level_progress(common, "counterfactual", begin / flags.batch, batches));

  const std::vector<double> roundtrip = l1_grey_levels(result.reconstruction, factual);
  for (size_t i = 0; i < index.size(); ++i) {
    Outcome o{.index = index[i],
              .label = -1,
              .roundtrip_l1 = roundtrip[i],
              .residual = nullptr,
              .converged = nullptr,
              .evaluations = result.abduction.evaluations[i],
              .at_scale = {}};
    if (!selection.dataset.labels.empty())
      o.label = selection.dataset.labels[static_cast<size_t>(index[i])];
    if (!result.abduction.residual.empty()) {
      o.residual = result.abduction.residual[i];
      o.converged = result.abduction.converged[i] != 0;
    }
    outcomes.push_back(std::move(o));
  }
  for (size_t s = 0; s < result.counterfactual.size(); ++s) {
    const Tensor image = clamp_to_image(result.counterfactual[s]);
    const std::vector<double> l1 = l1_grey_levels(image, factual);
    const auto p = predictor.predict(image);
    for (size_t i = 0; i < index.size(); ++i)
      outcomes[static_cast<size_t>(begin) + i].at_scale.push_back(
          {l1[i], std::max_element(p[i].begin(), p[i].end()) - p[i].begin(),
           p[i][static_cast<size_t>(target)]});
    images.counterfactual[s].push_back(image);
  }
  images.factual.push_back(factual);
  images.latent.push_back(result.abduction.latent);
  images.reconstruction.push_back(clamp_to_image(result.reconstruction));
}

void write_images(const Flags& flags, const Images& images, const std::vector<Outcome>& outcomes,
                  int64_t target) {
  const Tensor factual = concatenate(images.factual),
               reconstruction = concatenate(images.reconstruction);
  std::vector<Tensor> by_scale;
  for (const auto& batches : images.counterfactual) by_scale.push_back(concatenate(batches));
  std::vector<int64_t> labels;
  std::vector<float> scales(flags.options.scales.begin(), flags.options.scales.end());
  for (const Outcome& o : outcomes) labels.push_back(o.label);
  const int64_t n = factual.dim(0);

  // One scale: [N,H,W,C] as the other arrays; several: [S,N,H,W,C].
  Tensor all = concatenate(by_scale);
  if (by_scale.size() > 1) {
    Shape shape = factual.shape();
    shape.insert(shape.begin(), static_cast<int64_t>(by_scale.size()));
    all = all.reshape(shape);
  }
  io::write_npz(
      std::filesystem::path(flags.out) / "counterfactuals.npz",
      {{"factual", io::NpyArray::from(factual)},
       {"reconstruction", io::NpyArray::from(reconstruction)},
       {"counterfactual", io::NpyArray::from(all)},
       {"latent", io::NpyArray::from(concatenate(images.latent))},
       {"label", io::NpyArray::from(labels, {n})},
       {"target", io::NpyArray::from(std::vector<int64_t>(static_cast<size_t>(n), target), {n})},
       {"scale", io::NpyArray::from(scales, {static_cast<int64_t>(scales.size())})}});

  // The picture shows the first images; all of them are in the archive.
  const int64_t shown = std::min<int64_t>(n, 16);
  std::vector<io::GridRow> rows{{"factual", {}}, {"rec (s=0)", {}}};
  io::GridOptions grid{
      .title = fmt::format("do({}) with {} steps", flags.intervention, flags.abduction.steps),
      .columns = {}};
  for (const double s : flags.options.scales) rows.push_back({fmt::format("s={:g}", s), {}});
  for (int64_t i = 0; i < shown; ++i) {
    const Outcome& o = outcomes[static_cast<size_t>(i)];
    grid.columns.push_back(o.label >= 0 ? fmt::format("{}", o.label) : fmt::format("#{}", o.index));
    rows[0].images.push_back(io::grid_image(factual, i));
    rows[1].images.push_back(io::grid_image(reconstruction, i));
    for (size_t s = 0; s < by_scale.size(); ++s)
      rows[2 + s].images.push_back(io::grid_image(by_scale[s], i));
  }
  io::write_grid(std::filesystem::path(flags.out) / "grid.png", rows, grid);
}

std::vector<Json> result_lines(const Flags& flags, const std::vector<Outcome>& outcomes,
                               int64_t target) {
  std::vector<Json> lines;
  for (const Outcome& o : outcomes)
    for (size_t s = 0; s < o.at_scale.size(); ++s)
      lines.push_back({{"index", o.index},
                       {"label", o.label},
                       {"target", target},
                       {"scale", flags.options.scales[s]},
                       {"roundtrip_l1", o.roundtrip_l1},
                       {"residual", o.residual},
                       {"converged", o.converged},
                       {"evaluations", o.evaluations},
                       {"l1", o.at_scale[s].l1},
                       {"predicted", o.at_scale[s].predicted},
                       {"p_target", o.at_scale[s].p_target}});
  return lines;
}

Json summarise(const Flags& flags, const std::vector<Outcome>& outcomes, int64_t target,
               double seconds) {
  std::vector<double> roundtrip;
  Json unconverged = Json::array();
  for (const Outcome& o : outcomes) {
    roundtrip.push_back(o.roundtrip_l1);
    if (o.converged.is_boolean() && !o.converged.get<bool>()) unconverged.push_back(o.index);
  }
  Json scales = Json::array();
  for (size_t s = 0; s < flags.options.scales.size(); ++s) {
    std::vector<double> l1, p;
    int64_t flipped = 0;
    for (const Outcome& o : outcomes) {
      l1.push_back(o.at_scale[s].l1);
      p.push_back(o.at_scale[s].p_target);
      flipped += o.at_scale[s].predicted == target;
    }
    scales.push_back(
        {{"scale", flags.options.scales[s]},
         {"flip_rate", static_cast<double>(flipped) / static_cast<double>(outcomes.size())},
         {"l1_median", median(l1)},
         {"p_target_median", median(p)}});
  }
  return {{"images", outcomes.size()},
          {"roundtrip_l1_median", median(roundtrip)},
          {"roundtrip_l1_max", *std::max_element(roundtrip.begin(), roundtrip.end())},
          {"not_converged", unconverged},
          {"scales", scales},
          {"seconds", seconds}};
}

void print_table(const Flags& flags, const Json& summary) {
  fmt::print("\n{:>8} {:>10} {:>12} {:>12}\n", "scale s", "flip rate", "L1 median", "p(target)");
  for (const Json& s : summary["scales"])
    fmt::print("{:>8g} {:>9.1f}% {:>12.2f} {:>12.3f}\n", s["scale"].get<double>(),
               100 * s["flip_rate"].get<double>(), s["l1_median"].get<double>(),
               s["p_target_median"].get<double>());
  fmt::print(
      "round trip (s = 0): median {:.4f}, worst {:.4f} grey levels; L1 in grey levels, 0-255\n",
      summary["roundtrip_l1_median"].get<double>(), summary["roundtrip_l1_max"].get<double>());
  if (!summary["not_converged"].empty())
    fmt::print("abduction did not converge for {} of {} images: index {}\n",
               summary["not_converged"].size(), summary["images"].get<size_t>(),
               summary["not_converged"].dump());
  fmt::print("{} images in {:.1f} s; picture: {}\n", summary["images"].get<size_t>(),
             summary["seconds"].get<double>(),
             (std::filesystem::path(flags.out) / "grid.png").string());
}

void run(Common& common, Flags flags) {
  flags.options.abduction = flags.abduction.options;
  flags.options.abduction.method = parse_abduction_method(flags.abduction.method);
  flags.options.threshold.kind = parse_threshold(flags.threshold);
  as_usage([&] { validate(flags.options); });
  const DiffusionModel model(flags.model, common.target(), flags.abduction.steps, common.layers());
  const AntiCausalPredictor predictor(flags.classifier, model);
  const int64_t target =
      as_usage([&] { return parse_intervention(flags.intervention, predictor.classes()); });
  flags.abduction.steps = model.chain().levels();
  flags.options.abduction.levels =
      as_usage([&] { return model.chain().levels_of_fraction(flags.abduction.fraction); });
  const Selection selection = select(flags.data, model);
  const OutputFolder folder(flags.out, "counterfactual");
  warn_of_other_data(common, model.info(), predictor.info());
  for (const std::string& note : selection.dataset.notes) common.console.say(note);

  const auto start = std::chrono::steady_clock::now();
  std::vector<Outcome> outcomes;
  Images images;
  images.counterfactual.resize(flags.options.scales.size());
  for (int64_t begin = 0; begin < static_cast<int64_t>(selection.index.size());
       begin += flags.batch)
    run_batch(common, flags, model, predictor, selection, target, begin, outcomes, images);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  const Json summary = summarise(flags, outcomes, target, seconds);
  write_images(flags, images, outcomes, target);
  write_jsonl(std::filesystem::path(flags.out) / "results.jsonl",
              result_lines(flags, outcomes, target));
  const AbductionOptions& a = flags.options.abduction;
  write_run(flags.out, common,
            {{"data", flags.data.data},
             {"split", flags.data.split},
             {"index", flags.data.index},
             {"do", flags.intervention},
             {"scales", flags.options.scales},
             {"steps", flags.abduction.steps},
             {"levels", a.levels},
             {"abduction", flags.abduction.method},
             {"tolerance", a.tolerance},
             {"max_iterations", a.max_iterations},
             {"threshold", flags.threshold},
             {"batch", flags.batch}},
            {&model.info(), &predictor.info()}, summary);
  if (common.json) {
    fmt::print("{}\n", summary.dump());
  } else if (!common.quiet) {
    print_table(flags, summary);
  }
}

}  // namespace

void add_counterfactual(CLI::App& app, Common& common) {
  CLI::App* command = app.add_subcommand(
      "counterfactual", "What would these images have been under do(digit=value)?");
  auto flags = std::make_shared<Flags>();
  command->add_option("--model", flags->model, "diffusion model: a file or a run's folder")
      ->required();
  command
      ->add_option("--classifier", flags->classifier,
                   "anti-causal predictor: a file or a run's folder")
      ->required();
  add_data_flags(command, flags->data);
  command->add_option("--do", flags->intervention, "the intervention: digit=5")->required();
  command->add_option("--scale", flags->options.scales, "guidance scale s, or several: 0.1,0.7,2")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  add_abduction_flags(command, flags->abduction);
  command
      ->add_option("--threshold", flags->threshold,
                   "of the predicted clean image: none, clip or dynamic")
      ->check(CLI::IsMember({"none", "clip", "dynamic"}))
      ->capture_default_str();
  command->add_option("--batch", flags->batch, "images at a time")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--out", flags->out, "output folder")->required();
  command->callback([&common, flags] { run(common, *flags); });
}

}  // namespace diffscm::apps
