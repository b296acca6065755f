// diffscm import: a model file of weights that others trained.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "apps/command.h"
#include "apps/config.h"
#include "apps/output_folder.h"
#include "apps/training.h"
#include "data/attribute.h"
#include "engine/io/ending.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/io/safetensors.h"
#include "engine/io/torch_file.h"
#include "models/classifier.h"
#include "models/diffusers_weights.h"
#include "models/finite.h"
#include "models/foreign_weights.h"
#include "models/unet.h"

namespace diffscm::apps {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

// [q of all heads | k | v] in attention blocks; a preset says so in [import.unet].
constexpr const char* kNewOrder = "use_new_attention_order";

// What the tensors of a file leave open, beside the entries of the configuration.
constexpr const char* kLeftOpen[] = {
    "image_size", "num_res_blocks", "heads",          "head_channels", "norm_groups", "dropout",
    "schedule",   "timesteps",      "sampling_steps", "attribute",     "data",        kNewOrder};

struct ImportFlags {
  std::string file, out, preset, weights;
  std::vector<std::string> told;
  template <class V>
  void visit(V&& flag) {
    flag("file", &file, "PyTorch's .pt or .pth, or .safetensors",
         {.required = true, .positional = true, .value = "FILE"});
    flag("out", &out, "the model file to write", {.required = true, .value = "FILE"});
    flag("weights", &weights, "which of the file's dictionaries of tensors, such as ema",
         {.value = "KEY", .otherwise = "the only one with a network's names"});
    flag("preset", &preset, "whose configuration has what the file does not say",
         {.value = presets_with("unet"), .otherwise = "none"});
    flag("set", &told,
         fmt::format("say what the file does not, as often as needed: {}",
                     fmt::join(kLeftOpen, ", ")),
         {.value = "KEY=VALUE", .otherwise = "none"});
  }
};

json parse_told(const std::vector<std::string>& told) {
  json values = json::object();
  for (const std::string& text : told) {
    const size_t equals = text.find('=');
    const std::string key = text.substr(0, equals);
    if (equals == std::string::npos || std::ranges::find(kLeftOpen, key) == std::end(kLeftOpen))
      throw UsageError(
          fmt::format("--set {}: expected KEY=VALUE, of {}", text, fmt::join(kLeftOpen, ", ")));
    const json value = io::parse_json(text.substr(equals + 1));
    const auto expect = [&](bool ok, const char* what) {
      if (!ok) throw UsageError(fmt::format("--set {}: {} is {}", text, key, what));
    };
    if (key == "schedule" || key == "attribute" || key == "data") {
      values[key] = text.substr(equals + 1);
      expect(values[key] != "", "a name");
      continue;
    }
    values[key] = value;
    if (key == kNewOrder)
      expect(value.is_boolean(), "true or false");
    else if (key == "dropout")
      expect(value.is_number(), "a number");
    else
      expect(value.is_number_integer() && value >= 1 && value <= 1'000'000,
             "a whole number from 1 to 1000000");
  }
  return values;
}

NamedTensors read_tensors(const fs::path& path, const std::string& weights) {
  if (io::ending_of(path.native()) == ".safetensors") {
    io::Safetensors file = io::read_safetensors(path);
    if (const auto format = file.metadata.find("format");
        format != file.metadata.end() && format->second != "pt")
      fail("{} says of itself that it is {}: nothing to import", io::show(path),
           io::show(format->second));
    return std::move(file.tensors);
  }
  const io::TorchFile file(path);
  std::vector<std::string> all, networks;
  for (const auto& [key, views] : file.state_dicts()) {
    all.push_back(io::show(key));
    if (std::ranges::any_of(
            views, [](const auto& entry) { return entry.first.ends_with("time_embed.0.weight"); }))
      networks.push_back(key);
  }
  if (!weights.empty()) {
    require(file.state_dicts().contains(weights), "{} has no tensors under {}, but under {}",
            io::show(path), io::show(weights), fmt::join(all, ", "));
    return file.read(weights);
  }
  require(!all.empty(), "{} holds no dictionary of tensors", io::show(path));
  require(networks.size() <= 1, "{} holds several networks: choose by --weights one of {}",
          io::show(path), fmt::join(networks, ", "));
  return file.read(networks.empty() ? file.state_dicts().begin()->first : networks[0]);
}

// An error of `work` is about that file.
template <class F>
auto about(const std::string& file, F&& work) {
  try {
    return work();
  } catch (const Error& e) {
    fail("{}: {}", file, e.what());
  }
}

// The entries that tensors do not decide are, in this order, what --set says, what the preset has,
// or guided-diffusion's defaults.
class Import {
 public:
  Import(Common& common, const ImportFlags& flags, json told, NamedTensors tensors)
      : common_(common), flags_(flags), told_(std::move(told)), tensors_(std::move(tensors)) {
    if (!flags.preset.empty()) preset_ = load_config(flags.preset, {});
  }

  void write() {
    of_diff_scm_ = std::ranges::any_of(tensors_, [](const auto& entry) {
      return entry.first.find(".encoder_kv.") != std::string::npos;
    });
    for (const std::string& note : tidy_names(tensors_)) say(note);
    if (has_diffusers_names(tensors_)) read_diffusers();
    json hints = told_;
    for (const char* key : {"image_size", "num_res_blocks"})
      if (!hints.contains(key) && preset("classifier").contains(key))
        hints[key] = preset("classifier")[key];
    network_ = about(flags_.file, [&] { return recognise_network(tensors_, hints); });
    for (const char* key : {"norm_eps", "last_frequency", "turned"})
      if (told_.contains(key)) network_.config[key] = told_[key];
    if (preset_.is_object()) compare_with_preset();
    settle();
    for (const auto& [name, tensor] : tensors_)
      if (tensor.dtype() == Dtype::f32) require_finite(flags_.file, name, tensor);
    if (network_.kind == UNet::kKind)
      write<UNet>();
    else
      write<Classifier>();
  }

 private:
  void say(std::string note) { notes_.push_back(std::move(note)); }  // once all is well

  const json& preset(const char* section) const {
    static const json nothing = json::object();
    return preset_.is_object() && preset_.contains(section) ? preset_[section] : nothing;
  }
  const json& preset_network() const {
    return preset(network_.kind == UNet::kKind ? "unet" : "classifier");
  }

  // What the files beside diffusers' weights say counts as told.
  void read_diffusers() {
    const fs::path folder = fs::path(flags_.file).parent_path(), config = folder / "config.json";
    require(fs::exists(config),
            "{} has the names of diffusers' UNet2DModel, of which {} has to be beside it",
            flags_.file, io::show(config));
    say(fmt::format("names of diffusers' UNet2DModel, read with {}", io::show(config)));
    const DiffusersConfig parsed =
        about(io::show(config), [&] { return parse_diffusers_config(read_json(config)); });
    tell(about(flags_.file, [&] { return from_diffusers(tensors_, parsed); }), config);
    for (const fs::path& scheduler :
         {folder / "scheduler_config.json", folder / "../scheduler/scheduler_config.json"}) {
      if (!fs::exists(scheduler)) continue;
      return tell(about(io::show(scheduler),
                        [&] { return diffusion_from_diffusers(read_json(scheduler)); }),
                  scheduler);
    }
  }
  static json read_json(const fs::path& path) {
    const io::Bytes bytes = io::read_file(path, 1 << 20);
    const json parsed = io::parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    require(!parsed.is_discarded(), "it is not JSON");
    return parsed;
  }
  void tell(const json& entries, const fs::path& by) {
    for (const char* key : {"heads", "head_channels", kNewOrder})
      if (told_.contains(key) && entries.contains("norm_groups"))
        throw UsageError(fmt::format("--set {}: {} says it", key, io::show(by)));
    for (const auto& [key, value] : entries.items())
      if (told_.contains(key) && told_[key] != value)
        throw UsageError(fmt::format("--set {}={}: {} says {}", key, io::dump(told_[key]),
                                     io::show(by), io::dump(value)));
    told_.update(entries);
  }

  void compare_with_preset() const {
    std::vector<std::string> different;
    for (const auto& [key, value] : network_.config.items())
      if (preset_network().contains(key) && preset_network()[key] != value && !told_.contains(key))
        different.push_back(fmt::format("{} is {}, of the preset {}", key, io::dump(value),
                                        io::dump(preset_network()[key])));
    refuse(different, fmt::format("is not the {} of the preset {}", network_.kind, flags_.preset));
  }

  // Throws an error of the first three, if there are any.
  void refuse(const std::vector<std::string>& problems, const std::string& what) const {
    if (problems.empty()) return;
    const size_t shown = std::min<size_t>(problems.size(), 3);
    fail("{} {} ({} difference{}): {}", flags_.file, what, problems.size(),
         problems.size() == 1 ? "" : "s",
         fmt::join(problems.begin(), problems.begin() + static_cast<std::ptrdiff_t>(shown), "; "));
  }

  void settle() {
    json& config = network_.config;
    settle_heads(config);
    if (told_.contains("attribute") && config.contains("conditions"))
      for (json& condition : config["conditions"]) condition["name"] = told_["attribute"];
    const json reads = preset("import").value(network_.kind, json::object());
    if (!told_.contains(kNewOrder) && reads.contains(kNewOrder))
      told_[kNewOrder] = reads[kNewOrder];
    settle(config, preset_network(), "image_size");
    settle(config, preset_network(), "norm_groups", 32);
    settle(config, preset_network(), "dropout", 0.0);
    const json& walk = preset("diffusion");
    settle(diffusion_, walk, "schedule", "linear");
    settle(diffusion_, walk, "timesteps", 1000);
    settle(diffusion_, walk, "sampling_steps", 100);
    if (!unsettled_.empty())
      fail("{} does not say its {}: give --set {}=N, or --preset NAME", flags_.file,
           fmt::join(unsettled_, " and its "), fmt::join(unsettled_, "=N --set "));
    if (!assumed_.empty()) say(fmt::format("assumed: {}", fmt::join(assumed_, ", ")));
    if (!taken_.empty())
      say(fmt::format("of the preset {}: {}", flags_.preset, fmt::join(taken_, ", ")));
    noise_schedule({{"diffusion", diffusion_}});  // checks it
  }

  // Heads of one width (head_channels), or one number of them: what is told first says which.
  void settle_heads(json& config) {
    const bool number =
        !told_.contains("head_channels") &&
        (told_.contains("heads") || preset_network().value("head_channels", 0) == 0);
    if (network_.kind != UNet::kKind && !told_.contains("heads"))
      settle(config, preset_network(), "head_channels", 64);
    else
      settle(config, preset_network(), number ? "heads" : "head_channels");
    if (!config.contains("heads")) config["heads"] = 1;
    if (!config.contains("head_channels")) config["head_channels"] = 0;
  }

  void settle(json& config, const json& preset, const char* key, json otherwise = {}) {
    if (told_.contains(key)) {
      config[key] = told_[key];
    } else if (config.contains(key)) {
      return;
    } else if (preset.contains(key)) {
      config[key] = preset[key];
      taken_.push_back(fmt::format("{} = {}", key, io::dump(preset[key])));
    } else if (!otherwise.is_null()) {
      assumed_.push_back(fmt::format("{} = {}", key, io::dump(otherwise)));
      config[key] = std::move(otherwise);
    } else {
      unsettled_.push_back(key);
    }
  }

  void reorder(const std::string& projection, int64_t heads,
               Tensor (*rearranged)(const Tensor&, int64_t)) {
    for (const char* part : {".weight", ".bias"}) {
      Tensor& tensor = tensors_.at(projection + part);
      tensor = rearranged(tensor, heads);
    }
  }

  void reorder_attention(const TrunkConfig& config) {
    if (!told_.value(kNewOrder, false)) return;
    std::vector<std::pair<std::string, int64_t>> projections;
    for (const auto& [name, tensor] : tensors_)
      if (name.ends_with(".qkv.bias"))
        projections.emplace_back(name.substr(0, name.size() - std::string_view(".bias").size()),
                                 config.heads_of(tensor.numel() / 3));
    for (const auto& [name, heads] : projections) reorder(name, heads, per_head_from_chunked);
    say(fmt::format("{} attention blocks brought from the new order to head by head",
                    projections.size()));
  }
  // Diff-SCM's own code has the pool's projection head by head where guided-diffusion, and diffscm,
  // do not; its encoder_kv tells its files.
  void reorder_pool(const UNetConfig&) {}
  void reorder_pool(const ClassifierConfig& config) {
    if (!of_diff_scm_ || config.pool != Pool::attention) return;
    reorder("out.2.qkv_proj", config.channels_at(config.levels() - 1) / config.head_channels,
            chunked_from_per_head);
    say("the attention pool brought from Diff-SCM's order, head by head, to guided-diffusion's");
  }

  template <class Network>
  void write() {
    const auto config =
        about(flags_.file, [&] { return network_.config.get<typename Network::Config>(); });
    ModelInfo info;
    info.path = flags_.file;
    for (const auto& [name, tensor] : tensors_) info.parameters += tensor.numel();
    check_plausible(info, least_parameters(config));
    {
      Network network(config, ShapesOnly{});
      refuse(differences(named_parameters(network), tensors_),
             fmt::format("does not fit the {} that it looks like", network_.kind));
    }
    reorder_attention(config);
    reorder_pool(config);
    const int64_t classes = classes_of(config);
    info.kind = Network::kKind;
    info.config = config;
    info.diffusion = diffusion_;
    info.data = {{"name", told_.value("data", "imported")},
                 {"height", config.image_size},
                 {"width", config.image_size},
                 {"channels", config.in_channels},
                 {"classes", classes},
                 {"attributes", json::array()}};
    if (classes > 0)
      info.data["attributes"] = data::attributes_to_json(
          std::vector{data::numbered_category(told_.value("attribute", "class"), classes)});
    info.training = {{"command", common_.command_line},
                     {"version", DIFFSCM_VERSION},
                     {"imported_from", io::as_utf8(fs::path(flags_.file).filename().string())},
                     {"imported_sha256", io::sha256_of_file(flags_.file)}};
    make_folder_of(flags_.out);
    write_model(flags_.out, info, tensors_);
    for (const std::string& note : notes_) common_.console.say(note);
    common_.console.say(
        fmt::format("{}: a {} of {} parameters", flags_.out, network_.kind, info.parameters));
  }

  static int64_t classes_of(const ClassifierConfig& config) { return config.classes; }
  static int64_t classes_of(const UNetConfig& config) {
    return config.conditions.empty() ? 0 : config.conditions[0].classes;
  }

  Common& common_;
  const ImportFlags& flags_;
  json told_, preset_, diffusion_ = json::object();
  NamedTensors tensors_;
  ForeignNetwork network_;
  bool of_diff_scm_ = false;
  std::vector<std::string> assumed_, taken_, unsettled_, notes_;
};

void run(Common& common, ImportFlags flags) {
  if (io::ending_of(flags.out) != ".safetensors")
    throw UsageError(
        fmt::format("--out {}: give a name that ends with .safetensors", io::show(flags.out)));
  keep_input(flags.out, flags.file, "the file to import");
  const json told = parse_told(flags.told);
  Import(common, flags, told, read_tensors(flags.file, flags.weights)).write();
}

}  // namespace

void add_import(CLI::App& app, Common& common) {
  add_command(app, "import", "Make a model file of weights that others trained", common, run);
}

}  // namespace diffscm::apps
