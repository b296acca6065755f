// Whole jobs on any target, at the architecture of mnist-fast unless model files say otherwise:
//   forward         one evaluation of the U-Net, without a tape
//   train           one step: forward, backward, AdamW with the moving average; no dropout
//   counterfactual  DDIM abduction over 100 levels, then guided prediction over 100 levels at one
//                   scale: 200 evaluations of the U-Net, 100 gradients of the classifier
//   dump            no timing: inputs, outputs and gradients of both models into a folder, for
//                   bench/peers/pytorch_job.py --check
// bench/peers/pytorch_job.py does the same in PyTorch under the same flags. On a GPU the steps are
// recorded and replayed, as the commands do it.
#include <fmt/format.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "autograd/adamw.h"
#include "diffusion/abduction.h"
#include "diffusion/anti_causal_predictor.h"
#include "diffusion/replay.h"
#include "diffusion/sampler.h"
#include "engine/captured_step.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/io/npz.h"
#include "engine/memory.h"
#include "models/checkpoint.h"
#include "models/classifier.h"
#include "models/unet.h"
#include "models/unsettle.h"

using namespace diffscm;

namespace {

constexpr int kLevels = 100;
constexpr double kScale = 0.7;

struct Options {
  std::string what = "forward", model, config, classifier, json, out, device = "cpu",
              precision = "f32";
  int64_t batch = 10;
  int runs = 10, threads = 0;

  Target target() const { return parse_target(device); }
};

template <class Model>
Model random_model(uint64_t seed, const Options& o) {
  typename Model::Config config;
  if (std::is_same_v<Model, UNet> && !o.config.empty()) {
    const io::Bytes bytes = io::read_file(o.config);
    const auto json = io::parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    require(!json.is_discarded(), "--config {}: not JSON", o.config);
    config = json.get<typename Model::Config>();
  }
  Model model(config, seed);
  unsettle(variables(model), seed);
  return model;
}

template <class Model>
LoadedModel<Model> get_model(const std::string& path, uint64_t seed, const Options& o) {
  ModelInfo untrained;
  untrained.path = "random weights";
  untrained.diffusion = {{"schedule", "linear"}, {"timesteps", 1000}};
  LoadedModel<Model> loaded = path.empty()
                                  ? LoadedModel<Model>{random_model<Model>(seed, o), untrained}
                                  : load_model<Model>(path, Target::cpu);
  for (Variable* v : variables(loaded.model)) *v = Variable(v->value().to(o.target()));
  loaded.model.set_precision(o.precision == "bf16" ? Dtype::bf16 : Dtype::f32);
  return loaded;
}

DiffusionModel diffusion_model(const Options& o) {
  return {get_model<UNet>(o.model, 1, o), o.target(), kLevels};
}

Tensor images(const Shape& shape, uint64_t seed, const Options& o) {
  return initial_noise(shape, {}, seed, o.target());
}

Tensor images(const UNet& unet, uint64_t seed, const Options& o) {
  const UNetConfig& c = unet.config();
  return images({o.batch, c.image_size, c.image_size, c.in_channels}, seed, o);
}

// Timesteps spread over the whole range.
Tensor timesteps(int64_t batch, Target target) {
  std::vector<float> t(static_cast<size_t>(batch));
  for (int64_t i = 0; i < batch; ++i) t[i] = static_cast<float>((2 * i + 1) * 500 / batch);
  return Tensor::from(t, {batch}, target);
}

std::vector<int64_t> labels(int64_t batch) {
  std::vector<int64_t> all(static_cast<size_t>(batch));
  for (int64_t i = 0; i < batch; ++i) all[i] = (i + 5) % 10;
  return all;
}

struct Answer {
  Tensor latent, counterfactual;
};

// Over `levels` of the chain.
Answer counterfactual(const DiffusionModel& model, const AntiCausalPredictor& predictor,
                      const Tensor& x, int levels) {
  const Tensor latent = abduct(model.epsilon(), {}, model.chain(), x,
                               {.method = AbductionMethod::ddim, .levels = levels})
                            .latent;
  const Guidance guidance{.gradients = {{predictor.gradient(labels(x.dim(0))), kScale}}};
  return {latent, sample(model.epsilon(), guidance, model.chain(), levels, latent, {})};
}

// Milliseconds of each run, from an idle device to an idle device.
std::vector<double> timed(Target target, int runs, const std::function<void()>& work) {
  std::vector<double> ms;
  for (int i = 0; i < runs; ++i) {
    runtime(target).synchronize({});
    const auto start = std::chrono::steady_clock::now();
    work();
    runtime(target).synchronize({});
    ms.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
                     .count());
  }
  return ms;
}

std::vector<double> run_forward(const Options& o) {
  const DiffusionModel model = diffusion_model(o);
  const Tensor x = images(model.image_shape(o.batch), 1, o),
               t = Tensor::full({o.batch}, 500, o.target());
  const EpsilonModel epsilon = replayed(model.epsilon(), o.target(), o.batch);
  const auto work = [&] { epsilon(x, t); };
  timed(o.target(), 3, work);  // runs, records, replays
  return timed(o.target(), o.runs, work);
}

std::vector<double> run_train(const Options& o) {
  UNet unet = std::move(get_model<UNet>(o.model, 1, o).model);
  Adamw optimiser(variables(unet), {.lr = 1e-4, .weight_decay = 0.01});
  const Tensor x = images(unet, 1, o), noise = images(unet, 2, o);
  const Tensor t = timesteps(o.batch, o.target());
  CapturedStep step(o.target(), [&] {
    ForwardContext context;  // not `training`: no dropout, whatever the model file says
    const Variable loss = mse_loss(unet.forward(x, t, context), noise);
    backward(loss, Tensor::constant(loss.shape(), 1 / static_cast<float>(o.batch), o.target()));
    optimiser.apply_gradients();
  });
  const auto work = [&] {
    optimiser.begin_step();
    step.run();
  };
  timed(o.target(), 3, work);
  reset_peak_memory(o.target());
  return timed(o.target(), o.runs, work);
}

std::vector<double> run_counterfactual(const Options& o) {
  const DiffusionModel model = diffusion_model(o);
  const AntiCausalPredictor predictor(get_model<Classifier>(o.classifier, 2, o), model);
  const Tensor x = images(model.image_shape(o.batch), 1, o);
  counterfactual(model, predictor, x, 4);
  return timed(o.target(), o.runs, [&] { counterfactual(model, predictor, x, kLevels); });
}

// Writes the model and makes its parameters leaves, so that their gradients are kept.
template <class Model>
void export_model(Model& model, const std::filesystem::path& path) {
  ModelInfo info;
  info.kind = Model::kKind;
  info.config = model.config();
  info.diffusion = info.data = info.training = nlohmann::json::object();
  write_model(path, info, state_dict(model));
  for (Variable* v : variables(model)) *v = Variable::leaf(v->value());
}

template <class Model>
void add_gradients(Model& model, const std::string& prefix, io::NpyArrays& arrays) {
  for (const auto& [name, p] : named_parameters(model))
    arrays.emplace(prefix + name,
                   io::NpyArray::from(to_file_layout(p->variable.gradient(), p->layout)));
}

void dump(const Options& o) {
  require(!o.out.empty(), "dump needs --out FOLDER");
  const std::filesystem::path folder = o.out;
  std::filesystem::create_directories(folder);
  UNet unet = std::move(get_model<UNet>(o.model, 1, o).model);
  Classifier classifier = std::move(get_model<Classifier>(o.classifier, 2, o).model);
  const Tensor x = images(unet, 1, o), noise = images(unet, 2, o);
  const Tensor t = timesteps(o.batch, o.target());
  const std::vector<int64_t> label = labels(o.batch);
  io::NpyArrays arrays{{"x", io::NpyArray::from(x)},
                       {"t", io::NpyArray::from(t)},
                       {"noise", io::NpyArray::from(noise)},
                       {"label", io::NpyArray::from(label, {o.batch})}};

  const DiffusionModel model = diffusion_model(o);
  const AntiCausalPredictor predictor(get_model<Classifier>(o.classifier, 2, o), model);
  const Answer answer = counterfactual(model, predictor, x, kLevels);
  arrays.emplace("latent", io::NpyArray::from(answer.latent));
  arrays.emplace("counterfactual", io::NpyArray::from(answer.counterfactual));

  export_model(unet, folder / "unet.safetensors");
  export_model(classifier, folder / "classifier.safetensors");
  ForwardContext context;
  const float each = 1 / static_cast<float>(o.batch);
  const Variable eps = unet.forward(x, t, context), loss = mse_loss(eps, noise);
  arrays.emplace("eps", io::NpyArray::from(eps.value()));
  arrays.emplace("loss", io::NpyArray::from(loss.value()));
  backward(loss, Tensor::full({o.batch}, each, o.target()));
  add_gradients(unet, "unet_gradient.", arrays);

  const Variable input = Variable::leaf(x), logits = classifier.forward(input, t, context);
  arrays.emplace("logits", io::NpyArray::from(logits.value()));
  // Seeded with 1: per-image gradients, as guidance takes them; the weights' are their sum.
  backward(log_softmax_at(logits, label), Tensor::full({o.batch}, 1, o.target()));
  arrays.emplace("gradient", io::NpyArray::from(input.gradient()));
  add_gradients(classifier, "classifier_gradient.", arrays);
  io::write_npz(folder / "outputs.npz", arrays);
  fmt::print("wrote {}\n", folder.string());
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

void run(const Options& o) {
  set_threads(o.threads);
  operators(o.target());  // or the reason why not
  require(o.precision == "f32" || o.target() != Target::cpu,
          "--precision bf16 needs --device cuda or emu");
  if (o.what == "dump") return dump(o);
  const std::vector<double> all = o.what == "forward" ? run_forward(o)
                                  : o.what == "train" ? run_train(o)
                                                      : run_counterfactual(o);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const double ms = median(all), images = static_cast<double>(o.batch);
  const nlohmann::json result = {
      {"engine", "diffscm"},
      {"device", o.device},
      {"precision", o.precision},
      {"what", o.what},
      {"batch", o.batch},
      {"threads", threads()},
      {"ms", ms},
      {"ms_per_image", ms / images},
      {"images_per_second", 1000 * images / ms},
      {"peak_tensors_mib", memory_statistics(o.target()).peak_bytes >> 20},
      {"peak_process_mib", usage.ru_maxrss >> 10},
      {"runs_ms", all},
  };
  fmt::print("{}, batch {}, {} threads: {:.2f} ms, {:.2f} ms/image, {:.1f} images/s, {} MiB\n",
             o.what, o.batch, threads(), ms, ms / images, 1000 * images / ms,
             usage.ru_maxrss >> 10);
  if (!o.json.empty()) io::atomic_write(o.json, io::dump(result, 2) + "\n");
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"Whole jobs on diffscm's engine, timed"};
  app.add_option("--what", o.what)
      ->check(CLI::IsMember({"forward", "train", "counterfactual", "dump"}))
      ->capture_default_str();
  app.add_option("--batch", o.batch)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--runs", o.runs, "timed runs, after a warm-up")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--threads", o.threads, "0: all")->capture_default_str();
  app.add_option("--device", o.device)
      ->check(CLI::IsMember({"cpu", "cuda", "emu"}))
      ->capture_default_str();
  app.add_option("--precision", o.precision)
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  app.add_option("--model", o.model, "a U-Net's file (default: random weights)");
  app.add_option("--config", o.config,
                 "without --model: JSON of the U-Net (default: mnist-fast's)");
  app.add_option("--classifier", o.classifier, "a classifier's file (default: random weights)");
  app.add_option("--json", o.json, "also write the result here");
  app.add_option("--out", o.out, "dump: the folder");
  CLI11_PARSE(app, argc, argv);
  try {
    run(o);
    return 0;
  } catch (const std::exception& e) {
    fmt::print(stderr, "bench_job: {}\n", e.what());
    return 1;
  }
}
