#include "apps/training.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "data/image_source.h"
#include "data/splits.h"
#include "engine/io/json.h"
#include "engine/memory.h"

namespace diffscm::apps {

using nlohmann::json;

namespace {

const std::vector<std::string> kTrainEntries{
    "steps", "batch", "lr", "weight_decay", "ema_decay", "warmup_steps", "cosine_decay"};

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::ranges::count(names, name) > 0;
}

// Of what the data set holds, so that a run is not resumed on other images of the same name.
std::string checksum(const data::Dataset& dataset) {
  const auto bytes = [](const auto& values) {
    return io::sha256(
        {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(values[0])});
  };
  if (dataset.source) return bytes(dataset.source->checksum() + bytes(dataset.labels));
  const std::string both = bytes(dataset.pixels) + bytes(dataset.labels);
  return bytes(both);
}

// Whether a network's section asks for the variance of its steps beside eps: twice the channels of
// its own images, or of the data's.
bool wants_variance(const json& section, int64_t channels) {
  const json in = section.value("in_channels", json()), out = section.value("out_channels", json());
  if (!in.is_number_integer() || !out.is_number_integer() || in == out) return false;
  return out == 2 * in.get<int64_t>() || out == 2 * channels;
}

}  // namespace

const json& section(const json& config, const char* name) {
  require(config.contains(name), "the configuration lacks [{}]", name);
  return config.at(name);
}

const json& train_section(const json& config, const std::string& kind) {
  require(config.contains("train") && config["train"].contains(kind),
          "the configuration lacks [train.{}]", kind);
  return config["train"][kind];
}

TrainingOptions training_options(const json& s, const std::string& kind,
                                 const std::vector<std::string>& own, const TrainFlags& flags,
                                 const Common& common) {
  const std::string where = "train." + kind;
  for (const auto& [name, value] : s.items())
    require(contains(kTrainEntries, name) || contains(own, name),
            "the configuration has an unknown {}.{}: there are {}{}{}", where, name,
            fmt::join(kTrainEntries, ", "), own.empty() ? "" : ", ", fmt::join(own, ", "));
  TrainingOptions o;
  o.steps = flags.steps > 0 ? flags.steps : entry<int64_t>(s, where, "steps");
  o.batch = flags.batch > 0 ? flags.batch : entry<int64_t>(s, where, "batch");
  o.seed = common.seed;
  o.adamw.lr = entry<double>(s, where, "lr");
  o.adamw.weight_decay = entry<double>(s, where, "weight_decay");
  o.adamw.ema_decay = entry<double>(s, where, "ema_decay");
  o.warmup_steps = entry<int64_t>(s, where, "warmup_steps");
  o.cosine_decay = entry<bool>(s, where, "cosine_decay");
  o.checkpoint_every = flags.checkpoint_every;
  o.log_every = flags.log_every;
  o.micro_batch = flags.micro_batch;
  o.recompute = flags.recompute;
  o.minutes = flags.minutes;
  o.resume = flags.resume;
  o.out = flags.out;
  require(o.steps >= 1 && o.batch >= 1 && o.warmup_steps >= 0,
          "{0}.steps {1} and {0}.batch {2} must be at least 1, {0}.warmup_steps {3} at least 0",
          where, o.steps, o.batch, o.warmup_steps);
  require(o.adamw.weight_decay >= 0 && std::isfinite(o.adamw.weight_decay),
          "{}.weight_decay is {}, must not be negative", where, o.adamw.weight_decay);
  require(o.adamw.lr > 0 && std::isfinite(o.adamw.lr), "{}.lr is {}, must be positive", where,
          o.adamw.lr);
  require(o.adamw.ema_decay >= 0 && o.adamw.ema_decay < 1, "{}.ema_decay is {}, must be in [0, 1)",
          where, o.adamw.ema_decay);
  return o;
}

void check_labels(const data::Dataset& dataset) {
  require(!dataset.labels.empty(), "{} has no labels, which a classifier learns from",
          dataset.name);
  require_labels(dataset.labels, dataset.classes);
}

NoiseSchedule noise_schedule(const json& config) {
  const json& s = section(config, "diffusion");
  const NoiseSchedule schedule{parse_schedule_kind(entry<std::string>(s, "diffusion", "schedule")),
                               entry<int>(s, "diffusion", "timesteps")};
  Chain(schedule, entry<int>(s, "diffusion", "sampling_steps"));
  return schedule;
}

std::vector<std::string> with_augmentation(std::vector<std::string> own) {
  own.insert(own.end(), {"shift", "flip", "random_crop"});
  return own;
}

Augmentation augmentation_of(const json& train, const std::string& where,
                             const data::Dataset& dataset) {
  const auto shift = optional_entry<int64_t>(train, where, "shift", 0);
  const int64_t most = std::min(dataset.height, dataset.width) / 4;
  require(shift >= 0 && shift <= most, "{}.shift is {}, must be in [0, {}]: a quarter of the image",
          where, shift, most);
  return {.random_crop = optional_entry<bool>(train, where, "random_crop", false),
          .flip = optional_entry<bool>(train, where, "flip", false),
          .shift = shift};
}

const data::Attribute& attribute_to_learn(const TrainingData& d, const std::string& name) {
  const data::Attribute& attribute =
      as_usage([&]() -> const auto& { return data::find_attribute(d.train.attributes, name); });
  const auto& tested = d.test.attributes;
  require(std::ranges::find(tested, attribute) != tested.end(),
          "{} has the attribute {} to train on, but none with the same values to test",
          d.train.name, attribute.name);
  return attribute;
}

TrainingData load_training_data(const TrainFlags& flags, bool labels, const std::string& category) {
  data::Splits splits = data::load_splits(flags.data);
  TrainingData d{std::move(splits.train), std::move(splits.test)};
  const auto shape = [](const data::Dataset& s) { return Shape{s.height, s.width, s.channels}; };
  require(d.train.size() >= 1 && d.test.size() >= 1, "{} has {} images to train on and {} to test",
          d.train.name, d.train.size(), d.test.size());
  require(shape(d.train) == shape(d.test), "{} has images of {} to train on and of {} to test",
          d.train.name, to_string(shape(d.train)), to_string(shape(d.test)));
  for (const std::string& note : d.test.notes)
    if (!contains(d.train.notes, note)) d.train.notes.push_back(note);
  if (!labels) return d;
  if (!category.empty()) {
    const std::string name = attribute_to_learn(d, category).name;
    d.train.learn(name);
    d.test.learn(name);
  }
  check_labels(d.train);
  const int64_t first = d.train.labels.front();
  require(std::ranges::any_of(d.train.labels, [&](int64_t label) { return label != first; }),
          "{} has training images of one class only: give images of at least two", d.train.name);
  require(!d.test.labels.empty(), "{} has labels to train on but none to test", d.train.name);
  require_labels(d.test.labels, d.train.classes);
  return d;
}

void fit_to_data(json& config, const char* name, const data::Dataset& dataset,
                 const TrainFlags& flags, Common& common) {
  require(config.contains(name), "the configuration lacks [{}]", name);
  require(dataset.height == dataset.width, "{} has images of {}x{}: only square ones can be learnt",
          dataset.name, dataset.height, dataset.width);
  json& entries = config[name];
  std::vector<std::string> changed;
  const bool variance = wants_variance(entries, dataset.channels);
  const int64_t outputs = (variance ? 2 : 1) * dataset.channels;
  for (const auto& [key, value] :
       {std::pair{"image_size", dataset.height}, std::pair{"in_channels", dataset.channels},
        std::pair{"out_channels", outputs}, std::pair{"classes", dataset.classes}}) {
    // A data set without labels has no say in the classes.
    if (value == 0 || !entries.contains(key) || !entries[key].is_number_integer() ||
        entries[key] == value)
      continue;
    const std::string path = fmt::format("{}.{}", name, key);
    for (const std::string& override : flags.overrides)
      if (override.starts_with(path + "=") && !(variance && path.ends_with(".out_channels")))
        throw UsageError(fmt::format("--set {}: the data set {} has {} = {}; leave the flag out",
                                     override, dataset.name, key, value));
    entries[key] = value;
    changed.push_back(fmt::format("{} = {}", path, value));
  }
  if (!changed.empty())
    common.console.say(
        fmt::format("as the data set {} has it: {}", dataset.name, fmt::join(changed, ", ")));
}

void load_start(const std::string& init, const json& theirs, const json& ours,
                const std::vector<std::pair<std::string, Parameter*>>& parameters,
                const NamedTensors& state) {
  const std::vector<std::string> may_differ{"image_size", "dropout", "conditions", "attribute",
                                            "sigma"};
  std::vector<std::string> different;
  for (const auto& [key, value] : theirs.items())
    if (ours.contains(key) && ours[key] != value && !contains(may_differ, key))
      different.push_back(
          fmt::format("its {} is {}, here {}", key, io::dump(value), io::dump(ours[key])));
  require(different.empty(), "--init {}: {}", init, fmt::join(different, "; "));
  try {
    load_state(parameters, state);
  } catch (const Error& e) {
    fail("--init {}: {}", init, e.what());
  }
}

TrainingTask new_task(const std::string& kind, const json& model_config, const json& train,
                      const TrainingOptions& options, const data::Dataset& dataset,
                      const TrainFlags& flags, const Common& common) {
  TrainingTask task;
  task.info.kind = kind;
  task.info.config = model_config;
  task.info.diffusion = json::object();
  task.info.data = dataset.description();
  task.info.training = {{"command", common.command_line},
                        {"version", DIFFSCM_VERSION},
                        {"device", name_of(common.target())},
                        {"precision", common.precision},
                        {"options", train}};
  task.info.training["options"]["steps"] = options.steps;
  task.info.training["options"]["batch"] = options.batch;
  task.settings["precision"] = common.precision;
  task.settings["init"] = "none";
  for (const auto& [name, value] : train.items())
    if (!contains(kTrainEntries, name) && !name.starts_with("epochs")) task.settings[name] = value;
  if (flags.data != "mnist" && flags.data != "digits")
    task.settings["data_sha256"] = checksum(dataset);
  return task;
}

TrainingEnd train_with_progress(Common& common, const TrainFlags& flags, const std::string& what,
                                TrainingTask& task, const TrainingOptions& options,
                                const json& config) {
  TrainingCallbacks with;
  with.begin = [&] {
    const std::filesystem::path out = flags.out;
    std::filesystem::remove(out / "evaluation.json");  // of weights that will be replaced
    TrainFlags taken = flags;
    io::atomic_write(out / "run.json", io::dump(run_record(common, echo(taken)), 2) + "\n");
    io::atomic_write(options.out / "config.json", io::dump(config, 2) + "\n");
  };
  with.progress = [&](const TrainingProgress& p) {
    std::string loss = fmt::format("loss {:.4f}", p.loss);
    for (const auto& [name, value] : p.parts) loss += fmt::format(" {} {:.4f}", name, value);
    common.console.progress("train " + what, static_cast<double>(p.step),
                            static_cast<double>(p.steps), p.eta_seconds,
                            fmt::format("step {} {} lr {:.2e} {:.0f} images/s", p.step, loss, p.lr,
                                        p.samples_per_second));
  };
  with.message = [&](const std::string& line) { common.console.say(line); };
  with.stop = stop_requested;
  const TrainingEnd end = train(task, options, with);
  common.console.finish_progress();
  return end;
}

void report_end(Common& common, TrainingEnd end, const TrainingOptions& options,
                const std::function<json()>& evaluate) {
  json summary = {{"out", options.out.string()},
                  {"end", end == TrainingEnd::finished  ? "finished"
                          : end == TrainingEnd::stopped ? "stopped"
                                                        : "out of time"}};
  if (end == TrainingEnd::finished) summary.update(evaluate());
  summary["peak_memory_mib"] = memory_statistics(common.target()).peak_bytes >> 20;
  if (end == TrainingEnd::finished) {
    io::atomic_write(options.out / "evaluation.json", io::dump(summary, 2) + "\n");
  } else {
    common.console.say(
        fmt::format("{}: continue with --resume", summary["end"].get<std::string>()));
  }
  if (common.json) fmt::print("{}\n", io::dump(summary));
  common.console.say(fmt::format("model: {}", (options.out / "model.safetensors").string()));
  if (end == TrainingEnd::stopped) throw Stopped{};
}

}  // namespace diffscm::apps
