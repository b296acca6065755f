#include "causal/mechanisms/image_training.h"

#include <algorithm>

#include "engine/io/file.h"
#include "models/classifier.h"
#include "models/regressor.h"
#include "training/conditions.h"
#include "training/diffusion_training.h"
#include "training/noise_level_errors.h"

namespace diffscm::causal {
namespace {

using nlohmann::json;

NoiseSchedule schedule() {
  return {ScheduleKind::linear, image_diffusion()["timesteps"]};
}

// The usual configuration with the changes, and what the data decide.
json configuration(json usual, const json& changes, const char* name, const data::Dataset& dataset,
                   const std::vector<std::string>& decided) {
  require(changes.is_object(), "{} is no table", name);
  for (const std::string& key : decided)
    require(!changes.contains(key), "{}.{} is what the data say", name, key);
  usual.merge_patch(changes);
  usual["image_size"] = dataset.height;
  usual["in_channels"] = dataset.channels;
  if (usual.contains("out_channels")) usual["out_channels"] = dataset.channels;
  return usual;
}

template <class Model>
std::filesystem::path train_model(
    Model& model, const data::Dataset& dataset, std::function<TrainingBatch(int64_t)> batch,
    std::function<TrainingLoss(const TrainingBatch&, ForwardContext&)> loss,
    const ImageTraining& training, const FitOptions& options, const std::filesystem::path& folder,
    Part part) {
  model.set_precision(options.layers);
  TrainingTask task{named_parameters(model), std::move(batch), std::move(loss), {}};
  task.info.kind = Model::kKind;
  task.info.config = model.config();
  task.info.diffusion = image_diffusion();
  task.info.data = dataset.description();
  task.info.training = json::object();
  for (const auto& [name, p] : task.parameters)
    p->variable = Variable(p->variable.value().to(options.target));
  TrainingOptions how;
  how.steps = training.steps;
  how.batch = training.batch;
  how.seed = options.seed;
  how.adamw = {.lr = training.lr, .ema_decay = 0.999};
  how.warmup_steps = std::min<int64_t>(200, training.steps / 10);
  how.cosine_decay = true;
  how.checkpoint_every = 250;
  how.log_every = 10;
  how.resume = std::filesystem::exists(folder / "checkpoint.safetensors");
  how.out = folder;
  std::filesystem::create_directories(folder);
  const auto tell = [&](double done, const std::string& note) {
    const auto steps = static_cast<double>(how.steps);
    if (options.progress) options.progress(part.part * steps + done, part.parts * steps, note);
  };
  const TrainingEnd end =
      train(task, how,
            {.begin = [] {},
             .progress =
                 [&](const TrainingProgress& p) {
                   tell(static_cast<double>(p.step),
                        fmt::format("{} step {} of {}, loss {:.4f}, {:.0f} images/s", Model::kKind,
                                    p.step, p.steps, p.loss, p.samples_per_second));
                 },
             .message = [](const std::string&) {},
             .stop = [&] { return options.stop && options.stop(); }});
  if (end != TrainingEnd::finished) {
    tell(0, "stopped");
    fail("stopped before its last step");
  }
  return folder / "model.safetensors";
}

// A data set like that one, without rows.
data::Dataset empty_like(const data::Dataset& all) {
  data::Dataset part;
  part.name = all.name;
  part.height = all.height;
  part.width = all.width;
  part.channels = all.channels;
  return part;
}

}  // namespace

const json& image_diffusion() {
  static const json diffusion = {
      {"schedule", "linear"}, {"timesteps", 1000}, {"sampling_steps", 100}};
  return diffusion;
}

data::Dataset image_dataset(const Role& role, const Values& images, Parents parents) {
  require(images.is_image() && images.rows() > 0, "the data have no images");
  const Tensor& pixels = images.images;
  require(pixels.dim(1) == pixels.dim(2), "the images are {}x{}: they must be square",
          pixels.dim(1), pixels.dim(2));
  data::Dataset dataset;
  dataset.name = role.node.name();
  dataset.height = pixels.dim(1);
  dataset.width = pixels.dim(2);
  dataset.channels = pixels.dim(3);
  dataset.pixels = pixels.to_vector();
  for (size_t p = 0; p < parents.size(); ++p)
    dataset.add(role.parents[p].attribute, parents[p]->numbers);
  return dataset;
}

std::filesystem::path train_unet(const data::Dataset& dataset, const std::vector<std::string>& told,
                                 const ImageTraining& training, const FitOptions& options,
                                 const std::filesystem::path& folder, Part part) {
  UNetConfig usual;
  usual.norm_groups = 8;
  auto config = configuration(usual, training.unet, "unet", dataset,
                              {"image_size", "in_channels", "out_channels", "conditions"})
                    .get<UNetConfig>();
  config.conditions = conditions_of(dataset, told);
  UNet unet(config, options.seed);
  const NoiseSchedule noise = schedule();
  const DiffusionTraining diffusion(
      dataset, noise, config.conditions,
      {.batch = training.batch, .seed = options.seed, .drop = training.drop}, options.target);
  return train_model(
      unet, dataset, [&](int64_t step) { return diffusion.batch(step); },
      [&](const TrainingBatch& batch, ForwardContext& context) {
        return diffusion.loss(unet, batch, context);
      },
      training, options, folder, part);
}

data::Dataset keep_apart(data::Dataset& dataset) {
  const int64_t seen = dataset.size() - std::min<int64_t>(dataset.size() / 10, 1000),
                pixels = dataset.height * dataset.width * dataset.channels;
  data::Dataset rest = empty_like(dataset), rows = empty_like(dataset);
  rest.pixels.assign(dataset.pixels.begin() + seen * pixels, dataset.pixels.end());
  rows.pixels = std::move(dataset.pixels);  // in place: images are large
  rows.pixels.resize(static_cast<size_t>(seen * pixels));
  for (size_t a = 0; a < dataset.attributes.size(); ++a) {
    const std::vector<double>& values = dataset.values[a];
    rows.add(dataset.attributes[a], {values.begin(), values.begin() + seen});
    rest.add(dataset.attributes[a], {values.begin() + seen, values.end()});
  }
  dataset = std::move(rows);
  return rest;
}

std::filesystem::path train_predictor(const data::Dataset& rows, const data::Dataset& rest,
                                      const std::string& attribute, const ImageTraining& training,
                                      const FitOptions& options,
                                      const std::filesystem::path& folder, Part part) {
  const Condition condition = conditions_of(rows, {{attribute}}).front();
  const NoiseSchedule noise = schedule();
  const NoisyBatches batches(rows, noise, training.batch, options.seed, options.target);
  const json usual = {{"model_channels", 16}, {"norm_groups", 4}};
  if (condition.is_category()) {
    json config = ClassifierConfig{};
    config.merge_patch(usual);
    config = configuration(config, training.predictor, "predictor", rows,
                           {"image_size", "in_channels", "classes"});
    config["classes"] = condition.classes;
    Classifier classifier(config.get<ClassifierConfig>(), options.seed);
    // A classifier's data name what it learns first.
    data::Dataset named = empty_like(rows);
    named.attributes = {data::find_attribute(rows.attributes, attribute)};
    named.classes = condition.classes;
    return train_model(
        classifier, named,
        [&](int64_t step) {
          const NoisyBatch b = batches.batch(step);
          std::vector<int64_t> labels;
          for (const double v : condition_values({&condition, 1}, rows, b.index))
            labels.push_back(static_cast<int64_t>(v));
          return TrainingBatch{b.x_t, b.t,
                               Tensor::from(labels, {std::ssize(labels)}, options.target)};
        },
        [&](const TrainingBatch& batch, ForwardContext& context) {
          return negate(log_softmax_at(classifier.forward(batch[0], batch[1], context), batch[2]));
        },
        training, options, folder, part);
  }
  RegressorConfig plain;
  plain.attribute = condition;
  json config = plain;
  config.merge_patch(usual);
  config = configuration(config, training.predictor, "predictor", rows,
                         {"image_size", "in_channels", "attribute", "sigma"});
  Regressor regressor(config.get<RegressorConfig>(), options.seed);
  const std::filesystem::path file = train_model(
      regressor, rows,
      [&](int64_t step) {
        const NoisyBatch b = batches.batch(step);
        return TrainingBatch{b.x_t, b.t,
                             regressor.standardised(
                                 condition_values({&condition, 1}, rows, b.index), options.target)};
      },
      [&](const TrainingBatch& batch, ForwardContext& context) {
        return mse_loss(regressor.forward(batch[0], batch[1], context), batch[2]);
      },
      training, options, folder, part);
  auto [info, state] = read_model(file);  // the average of the weights
  load_state(named_parameters(regressor), state);
  for (const auto& [name, p] : named_parameters(regressor))
    p->variable = Variable(p->variable.value().to(options.target));
  const data::Dataset& measured = rest.size() > 0 ? rest : rows;
  regressor.set_sigma(noise_level_errors(regressor, measured, noise, measured.size(), 21,
                                         options.seed, options.target));
  info.config = regressor.config();
  write_model(file, info, state);
  return file;
}

}  // namespace diffscm::causal
