#include "apps/inference.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "apps/config.h"
#include "engine/io/file.h"

namespace diffscm::apps {
namespace {

template <class T>
T entry(const ModelInfo& info, const nlohmann::json& section, const char* name) {
  try {
    return section.at(name).get<T>();
  } catch (const nlohmann::json::exception&) {
    fail("{}: the metadata lack a usable '{}'", info.path, name);
  }
}

NoiseSchedule schedule_of(const ModelInfo& info) {
  return {parse_schedule_kind(entry<std::string>(info, info.diffusion, "schedule")),
          entry<int>(info, info.diffusion, "timesteps")};
}

}  // namespace

DiffusionModel::DiffusionModel(const std::string& path, Target target, int steps, Dtype layers)
    : target_(target), layers_(layers) {
  auto loaded = load_model<UNet>(path, target, layers);
  info_ = std::move(loaded.info);
  unet_ = std::make_unique<UNet>(std::move(loaded.model));
  if (steps == 0) steps = entry<int>(info_, info_.diffusion, "sampling_steps");
  chain_ = std::make_unique<Chain>(schedule_of(info_), steps);
}

Shape DiffusionModel::image_shape(int64_t n) const {
  const UNetConfig& c = unet_->config();
  return {n, c.image_size, c.image_size, c.in_channels};
}

EpsilonModel DiffusionModel::epsilon() const {
  return EpsilonModel::recordable(
      [this](const Tensor& x, const Tensor& t) { return unet_->predict(x, t); });
}

void DiffusionModel::check_fits(const data::Dataset& dataset) const {
  const Shape s = image_shape(1);
  require(dataset.height == s[1] && dataset.width == s[2] && dataset.channels == s[3],
          "{} was trained on {}x{}x{} images, {} has {}x{}x{}", info_.path, s[1], s[2], s[3],
          dataset.name, dataset.height, dataset.width, dataset.channels);
}

AntiCausalPredictor::AntiCausalPredictor(const std::string& path, const DiffusionModel& model)
    : target_(model.target()) {
  auto loaded = load_model<Classifier>(path, model.target(), model.layers());
  info_ = std::move(loaded.info);
  classifier_ = std::make_unique<Classifier>(std::move(loaded.model));
  const ClassifierConfig& c = classifier_->config();
  const Shape s = model.image_shape(1);
  require(c.image_size == s[1] && c.in_channels == s[3],
          "{} reads {}x{}x{} images, {} makes {}x{}x{}", info_.path, c.image_size, c.image_size,
          c.in_channels, model.info().path, s[1], s[2], s[3]);
  for (const char* name : {"schedule", "timesteps"})
    require(info_.diffusion.value(name, nlohmann::json()) ==
                model.info().diffusion.value(name, nlohmann::json()),
            "{} was trained with diffusion {} = {}, {} with {}: they cannot work together",
            info_.path, name, info_.diffusion.value(name, nlohmann::json()).dump(),
            model.info().path, model.info().diffusion.value(name, nlohmann::json()).dump());
}

GuidanceGradient AntiCausalPredictor::gradient(std::vector<int64_t> targets) const {
  require_labels(targets, classes());
  const Tensor label = Tensor::from(targets, {static_cast<int64_t>(targets.size())}, target_);
  return GuidanceGradient::recordable([this, label](const Tensor& x, const Tensor& t) {
    return classifier_->log_p_gradient(x, t, label);
  });
}

std::vector<std::vector<float>> AntiCausalPredictor::predict(const Tensor& images) const {
  const std::vector<float> flat = classifier_->probabilities(images.to(target_), /*t=*/0);
  std::vector<std::vector<float>> rows;
  for (auto row = flat.begin(); row != flat.end(); row += classes())
    rows.emplace_back(row, row + classes());
  return rows;
}

void add_data_flags(CLI::App* command, DataFlags& flags) {
  command
      ->add_option("--data", flags.data, "mnist, digits, a folder of IDX or PNG files, or an .npz")
      ->required();
  command->add_option("--split", flags.split, "train or test")
      ->check(CLI::IsMember({"train", "test"}))
      ->capture_default_str();
  command->add_option("--index", flags.index, "which images: 7  0:10  0:100:10  3,5,9")
      ->capture_default_str();
}

void add_abduction_flags(CLI::App* command, AbductionFlags& flags) {
  command->add_option("--steps", flags.steps, "levels of the chain (default: the model's)")
      ->check(CLI::PositiveNumber);
  command->add_option("--fraction", flags.fraction, "how far up the chain to go, 0 to 1")
      ->capture_default_str();
  command
      ->add_option("--abduction", flags.method,
                   "fixed-point (exact to --tolerance) or ddim (one pass)")
      ->check(CLI::IsMember({"fixed-point", "ddim"}))
      ->capture_default_str();
  command
      ->add_option("--tolerance", flags.options.tolerance, "fixed-point: residual in grey levels")
      ->capture_default_str();
  command
      ->add_option("--max-iterations", flags.options.max_iterations,
                   "fixed-point: network evaluations per image and level")
      ->capture_default_str();
}

Selection select(const DataFlags& flags, const DiffusionModel& model) {
  Selection s{data::load_dataset(flags.data, data::parse_split(flags.split)), {}};
  model.check_fits(s.dataset);
  s.index = as_usage([&] { return data::parse_index_range(flags.index, s.dataset.size()); });
  return s;
}

Progress level_progress(Common& common, const std::string& what, int64_t batch, int64_t batches) {
  const auto start = std::chrono::steady_clock::now();
  return [&common, what, batch, batches, start](int done, int total) {
    if (stop_requested()) throw Stopped{};
    const double elapsed =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const double remaining =
        static_cast<double>(total - done) + static_cast<double>((batches - batch - 1) * total);
    common.console.progress(what, static_cast<double>(batch * total + done),
                            static_cast<double>(batches * total), elapsed / done * remaining,
                            fmt::format("{:.1f} levels/s", done / elapsed));
  };
}

std::vector<double> l1_grey_levels(const Tensor& a, const Tensor& b) {
  const std::vector<float> x = a.to_vector(), y = b.to_vector();
  const size_t n = static_cast<size_t>(a.dim(0)), elements = x.size() / n;
  std::vector<double> result(n, 0);
  for (size_t i = 0; i < x.size(); ++i)
    result[i / elements] +=
        std::abs(double{x[i]} - double{y[i]}) * 127.5 / static_cast<double>(elements);
  return result;
}

Tensor clamp_to_image(const Tensor& x) {
  std::vector<float> values = x.to_vector();
  for (float& v : values) v = std::clamp(v, -1.0f, 1.0f);
  return Tensor::from(values, x.shape(), x.target());
}

Tensor concatenate(const std::vector<Tensor>& batches) {
  std::vector<float> all;
  Shape shape = batches.at(0).shape();
  shape[0] = 0;
  for (const Tensor& b : batches) {
    const std::vector<float> values = b.to_vector();
    all.insert(all.end(), values.begin(), values.end());
    shape[0] += b.dim(0);
  }
  return Tensor::from(all, shape);
}

double median(std::vector<double> values) {
  if (values.empty()) return std::nan("");
  std::sort(values.begin(), values.end());
  const size_t m = values.size() / 2;
  return values.size() % 2 == 1 ? values[m] : 0.5 * (values[m - 1] + values[m]);
}

void write_jsonl(const std::filesystem::path& path,
                 const std::vector<nlohmann::ordered_json>& lines) {
  io::atomic_write(path, [&](io::FileSink& sink) {
    for (const auto& line : lines) sink.write(dump(line) + "\n");
  });
}

void write_run(const std::filesystem::path& out, const Common& common,
               const nlohmann::ordered_json& options, const std::vector<const ModelInfo*>& models,
               const nlohmann::ordered_json& summary) {
  nlohmann::ordered_json run = {{"command", common.command_line},
                                {"version", DIFFSCM_VERSION},
                                {"device", name_of(common.target())},
                                {"precision", common.precision},
                                {"threads", threads()},
                                {"seed", common.seed},
                                {"options", options}};
  for (const ModelInfo* m : models)
    run["models"].push_back({{"path", m->path},
                             {"kind", m->kind},
                             {"sha256", m->sha256},
                             {"config", m->config},
                             {"data", m->data}});
  run["summary"] = summary;
  io::atomic_write(out / "run.json", dump(run, 2) + "\n");
}

}  // namespace diffscm::apps
