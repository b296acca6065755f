// diffscm inspect: what a model, checkpoint, archive, run folder or data set is.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/config.h"
#include "apps/notes.h"
#include "apps/shipped_models.h"
#include "data/splits.h"
#include "engine/io/ending.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/io/npz.h"
#include "engine/io/safetensors.h"
#include "models/classifier.h"
#include "models/memory_estimate.h"
#include "models/unet.h"

namespace diffscm::apps {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

Json describe_safetensors(const fs::path& path) {
  const io::Safetensors file = io::read_safetensors(path);
  Json d = {
      {"path", path.string()}, {"format", "safetensors"}, {"sha256", io::sha256_of_file(path)}};
  int64_t values = 0;
  for (const auto& [name, tensor] : file.tensors) values += tensor.numel();
  d["values"] = values;
  for (const auto& [key, text] : file.metadata) {
    const auto json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    d["metadata"][key] = json.is_discarded() ? Json(text) : json;
  }
  for (const auto& [name, tensor] : file.tensors) d["tensors"][name] = tensor.shape();
  return d;
}

Json describe_npz(const fs::path& path) {
  Json d = {{"path", path.string()}, {"format", "npz"}};
  for (const auto& [name, array] : io::npz_contents(path))
    d["arrays"][name] = {{"dtype", name_of(array.type)}, {"shape", array.shape}};
  return d;
}

// "one of cat, dog"; "0.5 to 3".
std::string in_words(const data::Attribute& attribute, const std::vector<double>& values) {
  if (!attribute.is_category()) {
    const auto [low, high] = std::ranges::minmax(values);
    return fmt::format("{} to {}", low, high);
  }
  constexpr size_t kListed = 12;
  const std::vector<std::string>& states = attribute.states;
  return fmt::format(
      "{} {}{}", states.size() > kListed ? fmt::format("one of {}:", states.size()) : "one of",
      fmt::join(states.begin(), states.begin() + std::min(kListed, states.size()), ", "),
      states.size() > kListed ? ", ..." : "");
}

Json describe_dataset(Common& common, const std::string& spec) {
  Json d = {{"data", spec}};
  const data::Splits splits = data::load_splits(spec);
  for (const data::Split split : {data::Split::train, data::Split::test}) {
    const data::Dataset& set = split == data::Split::train ? splits.train : splits.test;
    std::map<int64_t, int64_t> per_class;
    for (const int64_t label : set.labels) ++per_class[label];
    Json counts = Json::object();
    for (const auto& [label, count] : per_class)
      counts[set.label_attribute().show(static_cast<double>(label))] = count;
    say_notes(common, set);
    d[name_of(split)] = {
        {"images", set.size()},
        {"shape", {set.height, set.width, set.channels}},
        {"kept", set.pixels.empty() ? "in files, decoded as they are needed" : "in memory"},
        {"classes", set.classes},
        {"images_per_class", counts}};
    for (size_t a = 0; a < set.attributes.size(); ++a)
      d[name_of(split)]["attributes"][set.attributes[a].name] =
          in_words(set.attributes[a], set.values[a]);
  }
  return d;
}

Json describe_run(const fs::path& folder) {
  Json d = {{"path", folder.string()}, {"format", "run"}};
  for (const char* name : {"run.json", "evaluation.json"}) {
    if (!fs::exists(folder / name)) continue;
    const io::Bytes bytes = io::read_file(folder / name, 64 << 20);
    const auto json = Json::parse(bytes, nullptr, /*allow_exceptions=*/false);
    require(!json.is_discarded(), "{} is not JSON", (folder / name).string());
    d[name] = json;
  }
  if (fs::exists(folder / "model.safetensors"))
    d["model"] = describe_safetensors(folder / "model.safetensors");
  return d;
}

// The networks that a preset describes, counted without making them.
Json describe_preset(const std::string& name) {
  Json d = {{"preset", name}};
  const auto config = load_config(name, {});
  const auto count = [&]<class Network>(const char* section, const Network*) {
    if (!config.contains(section)) return;
    Network shapes(config[section].template get<typename Network::Config>(), ShapesOnly{});
    d[section] = {{"parameters", parameter_count(shapes)}};
  };
  count("unet", static_cast<const UNet*>(nullptr));
  count("classifier", static_cast<const Classifier*>(nullptr));
  return d;
}

Json memory_by_kind(const Common& common, const std::string& kind, const nlohmann::json& config,
                    int64_t batch) {
  MemoryEstimate memory;
  if (kind == UNet::kKind)
    memory = estimate_memory(config.get<UNetConfig>(), batch, common.target(), common.layers());
  else if (kind == Classifier::kKind)
    memory =
        estimate_memory(config.get<ClassifierConfig>(), batch, common.target(), common.layers());
  else
    fail("--memory is for U-Nets and classifiers, not for a {}", kind);
  const auto mib = [](double bytes) { return std::round(bytes / (1 << 20)); };
  return {{"batch", batch},
          {"device", name_of(common.target())},
          {"precision", name_of(common.layers())},
          {"weights_mib", mib(memory.weights)},
          {"evaluation_mib", mib(memory.evaluation)},
          {"training_recompute_mib", mib(memory.training_recompute)},
          {"training_mib", mib(memory.training)}};
}

Json describe_memory(const Common& common, const std::string& what, int64_t batch) {
  Json d = Json::object();
  if (presets().contains(what)) {
    const auto config = load_config(what, {});
    for (const char* kind : {UNet::kKind, Classifier::kKind})
      if (config.contains(kind)) d[kind] = memory_by_kind(common, kind, config[kind], batch);
    return d;
  }
  const ModelInfo info =
      read_model_info(fs::exists(what) ? fs::path(what) : shipped_model(what).value_or(what));
  d[info.kind] = memory_by_kind(common, info.kind, info.config, batch);
  return d;
}

Json describe(Common& common, const std::string& what) {
  if (what == "mnist" || what == "digits") {  // first of all data, whether or not a preset too
    Json d = describe_dataset(common, what);
    if (presets().contains(what)) d.update(describe_preset(what));
    return d;
  }
  if (presets().contains(what)) return describe_preset(what);
  const fs::path path =
      fs::exists(what) ? fs::path(what) : shipped_model(what).value_or(fs::path());
  if (path.empty()) return describe_dataset(common, what);
  if (fs::is_directory(path)) {
    for (const char* name : {"run.json", "evaluation.json", "model.safetensors"})
      if (fs::exists(path / name)) return describe_run(path);
    return describe_dataset(common, what);
  }
  const std::string ending = io::ending_of(path.native());
  if (ending == ".safetensors") return describe_safetensors(path);
  if (ending == ".npz") return describe_npz(path);
  if (ending == ".tar") return describe_dataset(common, what);
  fail(
      "cannot inspect {}: expected a .safetensors, .npz or .tar file, a run's folder or a data set",
      what);
}

bool is_shape(const Json& value) {
  return value.is_array() && std::ranges::all_of(value, &Json::is_number_integer);
}

// Of an archive: {"dtype": "float32", "shape": [2, 3]}.
bool is_array(const Json& value) {
  return value.is_object() && value.contains("dtype") && value["dtype"].is_string() &&
         value.contains("shape") && is_shape(value["shape"]);
}

std::string in_words(const std::string& key, const Json& value) {
  const auto shape = [](const Json& j) { return to_string(j.get<Shape>()); };
  if (is_array(value)) return value["dtype"].get<std::string>() + " " + shape(value["shape"]);
  if (key == "shape" && is_shape(value)) return shape(value);
  return value.is_string() ? value.get<std::string>() : io::dump(value);
}

// One "key: value" line per leaf, indented; long lists of tensors are left to --json.
void print(const Json& json, int indent) {
  for (const auto& [key, value] : json.items()) {
    if (value.is_object() && key == "tensors") {
      fmt::print("{:{}}{}: {} (names and shapes with --json)\n", "", indent, key, value.size());
    } else if (value.is_object() && key != "images_per_class" && !is_array(value)) {
      fmt::print("{:{}}{}:\n", "", indent, key);
      print(value, indent + 2);
    } else {
      fmt::print("{:{}}{}: {}\n", "", indent, key, in_words(key, value));
    }
  }
}

struct Flags {
  std::string what;
  bool memory = false;
  int64_t batch = 1;
  template <class V>
  void visit(V&& flag) {
    flag("what", &what,
         "a .safetensors or .npz file, a shipped model's name, a preset, a folder, mnist or digits",
         {.required = true, .positional = true, .value = "mnist|digits|FILE"});
    flag("memory", &memory, "what a model or preset needs on --device, before it runs");
    flag("batch", &batch, "images at a time, for --memory", {.least = 1, .most = 1e6});
  }
};

void run(Common& common, Flags flags) {
  const Json d = flags.memory ? describe_memory(common, flags.what, flags.batch)
                              : describe(common, flags.what);
  if (common.json) {
    fmt::print("{}\n", io::dump(d, 2));
  } else {
    print(d, 0);
  }
}

}  // namespace

void add_inspect(CLI::App& app, Common& common) {
  add_command(app, "inspect", "Say what a model, archive, run folder or data set is", common, run);
}

}  // namespace diffscm::apps
