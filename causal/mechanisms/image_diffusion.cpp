#include "causal/mechanisms/image_diffusion.h"

#include <algorithm>
#include <cmath>

#include "diffusion/batch.h"
#include "engine/random.h"

namespace diffscm::causal {
namespace {

using nlohmann::json;

constexpr int64_t kBatch = 64;  // images that the networks see at once
constexpr const char* kUNet = "unet";

std::string prefix_of(const std::string& parent) {
  return "predictor." + parent;
}

json describe(const ModelInfo& info) {
  return {{"kind", info.kind},
          {"config", info.config},
          {"diffusion", info.diffusion},
          {"data", info.data},
          {"training", info.training}};
}

// One of the networks that a mechanism's file holds.
std::pair<ModelInfo, NamedTensors> extract(const MechanismState& state, const std::string& prefix) {
  const auto network = state.values.find(prefix);
  require(network != state.values.end() && network->is_object(), "it has no network {}", prefix);
  ModelInfo info;
  info.path = prefix;
  for (const auto& [key, field] : {std::pair{"config", &info.config},
                                   {"diffusion", &info.diffusion},
                                   {"data", &info.data},
                                   {"training", &info.training}})
    *field = network->value(key, json());
  info.kind = network->value("kind", "");
  NamedTensors tensors;
  const std::string start = prefix + "/";
  for (const auto& [name, tensor] : state.tensors)
    if (name.starts_with(start)) {
      tensors.emplace(name.substr(start.size()), tensor);
      info.parameters += tensor.numel();
    }
  return {info, tensors};
}

size_t parent_named(const Role& role, const std::string& name, const char* key) {
  for (size_t p = 0; p < role.parents.size(); ++p)
    if (role.parents[p].name() == name) return p;
  fail("{}: {} is no parent", key, io::show(name));
}

// Keeps the network in a file under `prefix`.
void adopt(MechanismState& state, const std::string& prefix, const std::filesystem::path& file) {
  const auto [info, tensors] = read_model(file);
  state.values[prefix] = describe(info);
  for (const auto& [name, tensor] : tensors) state.tensors.emplace(prefix + "/" + name, tensor);
}

// Images k of every row of noise [rows, 1 + K, H, W, C].
Tensor plane(const Tensor& noise, int64_t k) {
  const int64_t rows = noise.dim(0), depth = noise.dim(1), pixels = noise.numel() / (rows * depth);
  Tensor images({rows, noise.dim(2), noise.dim(3), noise.dim(4)});
  for (int64_t row = 0; row < rows; ++row)
    std::copy_n(noise.data() + (row * depth + k) * pixels, pixels,
                images.mutable_data() + row * pixels);
  return images;
}

void set_plane(Tensor& noise, int64_t k, const Tensor& images) {
  const int64_t rows = noise.dim(0), depth = noise.dim(1), pixels = noise.numel() / (rows * depth);
  for (int64_t row = 0; row < rows; ++row)
    std::copy_n(images.data() + row * pixels, pixels,
                noise.mutable_data() + (row * depth + k) * pixels);
}

}  // namespace

ImageDiffusion::ImageDiffusion(const Role& role) : role_(role) {
  require(role.node.kind == NodeKind::image, "the node is no image");
  for (const Node& parent : role.parents)
    require(parent.kind != NodeKind::image, "its parent {} is an image", io::show(parent.name()));
  const MechanismSpec& spec = role.node.mechanism;
  Parameters parameters(spec.parameters);
  conditional_ = parameters.choice("form", {"conditional", "anti-causal"}) == "conditional";
  require(conditional_ || !role.parents.empty(), "form anti-causal needs parents");
  walk_ = walk_of(parameters);
  const auto model = parameters.get<std::string>("model", "");
  json predictors = json::object();
  if (!conditional_) predictors = parameters.get<json>("predictors", json::object());
  require(predictors.is_object(), "predictors is {}: give {{PARENT = \"FILE\", ..}}",
          predictors.dump());
  for (const auto& [name, file] : predictors.items()) {
    parent_named(role, name, "predictors");
    require(file.is_string(), "the predictor of {} is {}: give a file", io::show(name),
            file.dump());
  }
  training_ = {.unet = parameters.get<json>("unet", json::object()),
               .predictor = conditional_ ? json::object()
                                         : parameters.get<json>("predictor", json::object()),
               .steps = parameters.get<int64_t>("steps", 12000),
               .batch = parameters.get<int64_t>("batch", 64),
               .lr = parameters.number("lr", 1e-3, 1e-9, 1),
               .drop = parameters.number("drop", 0.15, 0, 1)};
  parameters.finish();
  require(training_.steps >= 1 && training_.batch >= 1 && training_.unet.is_object(),
          "steps {}, batch {}: give 1 or more; unet: a table", training_.steps, training_.batch);
  if (model.empty() || spec.folder.empty()) return;
  adopt(state_, kUNet, spec.folder / model);
  for (const Node& parent : role.parents)
    if (!conditional_) {
      require(predictors.contains(parent.name()), "predictors has none of the parent {}",
              io::show(parent.name()));
      adopt(state_, prefix_of(parent.name()),
            spec.folder / predictors[parent.name()].get<std::string>());
    }
  build();
}

ImageDiffusion::Walk ImageDiffusion::walk_of(Parameters& parameters) const {
  Walk walk;
  walk.factual = parameters.choice("encode", {"factual", "unconditional"}) == "factual";
  walk.method =
      parse_abduction_method(parameters.choice("abduction", {"ddpm", "ddim", "fixed-point"}));
  walk.levels = parameters.get<int>("levels", 0);
  require(walk.levels >= 0 && walk.levels <= 1'000'000, "levels is {}: give 1 or more",
          walk.levels);
  walk.least_change = parameters.number("least_change", 0, 0, 255);
  walk.scales.assign(role_.parents.size(), parameters.number("scale", 1, 0, 1e6));
  const json scales = parameters.get<json>("scales", json::object());
  require(!conditional_ || scales.empty(),
          "scales are of form anti-causal: a conditional network has one scale");
  for (const auto& [name, s] : scales.items()) {
    const size_t parent = parent_named(role_, name, "scales");
    require(s.is_number() && s.get<double>() >= 0, "the scale of {} is {}: give a number >= 0",
            name, s.dump());
    walk.scales[parent] = s;
  }
  return walk;
}

void ImageDiffusion::build() {
  auto [info, tensors] = extract(state_, kUNet);
  model_.emplace(build_model<UNet>(std::move(info), tensors, target_, layers_), target_,
                 walk_.levels, layers_);
  condition_.clear();
  predictors_.clear();
  const std::vector<Condition>& conditions = model_->conditions();
  for (const Node& parent : role_.parents) {
    const auto states = std::ssize(parent.attribute.states);
    const std::string name = io::show(parent.name());
    if (!conditional_) {
      add_predictor(parent);
      continue;
    }
    const auto c = std::ranges::find_if(conditions, [&](const Condition& condition) {
      return condition.name == parent.name() || condition.name == parent.column;
    });
    require(c != conditions.end(), "the model of images was not told the parent {}", name);
    require(c->classes == states, "the model of images was told {} states of {}, the graph has {}",
            c->classes, name, states);
    condition_.push_back(static_cast<size_t>(c - conditions.begin()));
  }
  for (const Condition& c : conditions)
    require(
        !conditional_ || std::ranges::count(condition_, static_cast<size_t>(&c - &conditions[0])),
        "the model of images was told {}, which is no parent in the graph", io::show(c.name));
}

void ImageDiffusion::add_predictor(const Node& parent) {
  auto [info, tensors] = extract(state_, prefix_of(parent.name()));
  if (parent.is_discrete())
    predictors_.emplace_back(build_model<Classifier>(std::move(info), tensors, target_, layers_),
                             *model_);
  else
    predictors_.emplace_back(build_model<Regressor>(std::move(info), tensors, target_, layers_),
                             *model_);
  const AntiCausalPredictor& p = predictors_.back();
  require(p.attribute().empty() || p.attribute() == parent.name() || p.attribute() == parent.column,
          "the predictor of {} was trained on {}", io::show(parent.name()),
          io::show(p.attribute()));
  require(p.classes() == std::ssize(parent.attribute.states),
          "the predictor of {} knows {} states, the graph has {}", io::show(parent.name()),
          p.classes(), parent.attribute.states.size());
}

const DiffusionModel& ImageDiffusion::model() const {
  require(model_.has_value(), "the model of images is not fitted: fit the graph, or name a model");
  return *model_;
}

Shape ImageDiffusion::noise_shape(int64_t rows) const {
  const Shape image = model().image_shape(rows);
  return {rows, walk_.method == AbductionMethod::ddpm ? 1 + levels() : 1, image[1], image[2],
          image[3]};
}

Abduction ImageDiffusion::abduction() const {
  return walk_.method == AbductionMethod::ddpm ? Abduction::posterior : Abduction::exact;
}

Observer ImageDiffusion::observer(bool predicting) const {
  if (!watch_) return {};
  return [this, predicting](int level, const Tensor& x) { watch_(predicting, level, x); };
}

Guidance ImageDiffusion::guidance(Parents parents, int64_t begin, int64_t end) const {
  Guidance guidance;
  if (conditional_) {
    if (parents.empty()) return guidance;
    std::vector<data::Assignment> told(static_cast<size_t>(end - begin));
    for (size_t p = 0; p < parents.size(); ++p)
      for (int64_t row = begin; row < end; ++row)
        told[static_cast<size_t>(row - begin)][model_->conditions()[condition_[p]].name] =
            parents[p]->numbers[static_cast<size_t>(row)];
    guidance.conditions.push_back({model_->epsilon(told), walk_.scales[0]});
    return guidance;
  }
  for (size_t p = 0; p < parents.size(); ++p) {
    const auto first = parents[p]->numbers.begin();
    const std::vector<double> values(first + begin, first + end);
    guidance.gradients.push_back({predictors_[p].gradient(values), walk_.scales[p]});
  }
  return guidance;
}

void ImageDiffusion::require_shape(int64_t height, int64_t width, int64_t channels) const {
  const Shape image = model().image_shape(1);
  require(height == image[1] && width == image[2] && channels == image[3],
          "the model makes images of {}x{}x{}, these are {}x{}x{}", image[1], image[2], image[3],
          height, width, channels);
}

void require_makes_images_of(const data::Dataset& dataset, const Mechanism& mechanism) {
  if (const auto* images = dynamic_cast<const ImageDiffusion*>(&mechanism))
    images->require_shape(dataset.height, dataset.width, dataset.channels);
}

Values ImageDiffusion::abduct(const Values& value, Parents parents, const RowRandom& random) const {
  const DiffusionModel& model = this->model();
  require(value.is_image() && value.images.rank() == 4, "the value to abduct is no image");
  require_shape(value.images.dim(1), value.images.dim(2), value.images.dim(3));
  AbductionOptions options{.method = walk_.method,
                           .seed = random.key.seed + 0x9E3779B97F4A7C15u * (random.key.step + 1)};
  std::vector<Tensor> batches;
  for (int64_t begin = 0; begin < value.rows(); begin += kBatch) {
    const int64_t end = std::min(value.rows(), begin + kBatch);
    options.index.assign(random.rows.begin() + begin, random.rows.begin() + end);
    const diffscm::Abduction u = diffscm::abduct(
        model.epsilon(), walk_.factual ? guidance(parents, begin, end) : Guidance(), model.chain(),
        value.images.slice(begin, end).to(target_), options, {}, observer(false));
    Tensor batch(noise_shape(end - begin));
    set_plane(batch, 0, u.latent.to(Target::cpu));
    for (size_t k = 0; k < u.noise.size(); ++k)
      set_plane(batch, static_cast<int64_t>(k) + 1, u.noise[k].to(Target::cpu));
    batches.push_back(std::move(batch));
  }
  return Values(concatenate(batches));
}

Values ImageDiffusion::predict(const Values& noise, Parents parents) const {
  const DiffusionModel& model = this->model();
  require(noise.is_image() && noise.images.shape() == noise_shape(noise.rows()),
          "this is no noise of images over {} levels by {}", levels(), name_of(walk_.method));
  std::vector<Tensor> batches;
  for (int64_t begin = 0; begin < noise.rows(); begin += kBatch) {
    const int64_t end = std::min(noise.rows(), begin + kBatch);
    const Tensor batch = noise.images.slice(begin, end);
    diffscm::Abduction u;
    u.latent = plane(batch, 0).to(target_);
    for (int64_t k = 1; k < batch.dim(1); ++k) u.noise.push_back(plane(batch, k).to(target_));
    const Tensor x = diffscm::predict(u, model.epsilon(), guidance(parents, begin, end),
                                      model.chain(), levels(), {}, {}, observer(true));
    batches.push_back(clamp_to_image(x).to(Target::cpu));
  }
  return Values(concatenate(batches));
}

Values ImageDiffusion::counterfactual(const Values& factual, const Values& noise,
                                      Parents parents) const {
  return Values(shrink_change(factual.images, predict(noise, parents).images, walk_.least_change));
}

Values ImageDiffusion::draw_noise(const RowRandom& random) const {
  Tensor noise = standard_normal(noise_shape(random.size()), random.key, random.rows, Target::cpu);
  // The last step adds none (Ho et al. 2020, alg. 2).
  if (noise.dim(1) > 1) set_plane(noise, 1, Tensor::zeros(model().image_shape(random.size())));
  return Values(noise);
}

void ImageDiffusion::fit(const Values& value, Parents parents, const FitOptions& options) {
  require(role_.node.mechanism.parameters.value("model", "").empty(),
          "the model's file cannot be found from here: fit the graph where its file lies");
  data::Dataset dataset = image_dataset(role_, value, parents);
  std::vector<std::string> names;
  for (const Node& parent : role_.parents) names.push_back(parent.name());
  Part part{0, conditional_ ? 1 : 1 + static_cast<int>(names.size())};
  MechanismState state;
  const auto keep = [&](const std::string& prefix, const std::filesystem::path& file) {
    adopt(state, prefix, file);
    ++part.part;
  };
  keep(kUNet, train_unet(dataset, conditional_ ? names : std::vector<std::string>(), training_,
                         options, options.folder, part));
  if (!conditional_) {
    const data::Dataset rest = keep_apart(dataset);
    for (const std::string& name : names)
      keep(prefix_of(name), train_predictor(dataset, rest, name, training_, options,
                                            options.folder / prefix_of(name), part));
  }
  state_ = std::move(state);
  target_ = options.target;
  layers_ = options.layers;
  build();
}

MechanismState ImageDiffusion::state() const {
  return state_;
}

void ImageDiffusion::load(const MechanismState& state) {
  state_ = state;
  build();
}

void ImageDiffusion::move_to(Target target, Dtype layers) {
  if (target == target_ && layers == layers_) return;
  target_ = target;
  layers_ = layers;
  if (model_) build();
}

void ImageDiffusion::configure(const json& changes) {
  json merged = role_.node.mechanism.parameters;
  for (const auto& [key, value] : changes.items()) {
    const std::vector<std::string> changeable{"encode", "abduction", "scale",
                                              "scales", "levels",    "least_change"};
    require(std::ranges::count(changeable, key) == 1, "{} cannot be changed: {}", io::show(key),
            data::choices(key, changeable));
    merged[key] = value;
  }
  Parameters parameters(merged);
  walk_ = walk_of(parameters);
  if (model_) build();
}

const Condition* ImageDiffusion::seen(size_t p) const {
  if (role_.parents[p].is_discrete() || !model_) return nullptr;
  return conditional_ ? &model_->conditions()[condition_[p]] : &predictors_[p].number();
}

std::vector<std::string> ImageDiffusion::warnings(Parents parents) const {
  constexpr double kFar = 4, kMost = 2;  // standard deviations
  std::vector<std::string> all;
  for (size_t p = 0; p < parents.size(); ++p) {
    const Condition* c = seen(p);
    if (c == nullptr) continue;
    const auto far = std::ranges::max_element(
        parents[p]->numbers, {}, [&](double value) { return std::abs(value - c->mean); });
    if (far != parents[p]->numbers.end() && std::abs(*far - c->mean) > kFar * c->deviation)
      all.push_back(
          fmt::format("{}={:g} is far from the images that the model has seen: most were between "
                      "{:.3g} and {:.3g}",
                      role_.parents[p].name(), *far, c->mean - kMost * c->deviation,
                      c->mean + kMost * c->deviation));
  }
  return all;
}

std::string ImageDiffusion::description() const {
  return fmt::format(
      "image diffusion, {}, {} abduction, {} encoding{}",
      conditional_ ? "conditional" : "anti-causal", name_of(walk_.method),
      walk_.factual ? "factual" : "unconditional",
      walk_.least_change > 0 ? fmt::format(", least change {:g}", walk_.least_change) : "");
}

std::unique_ptr<Mechanism> make_image_diffusion(const Role& role) {
  return std::make_unique<ImageDiffusion>(role);
}

}  // namespace diffscm::causal
