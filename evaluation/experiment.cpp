#include "evaluation/experiment.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "diffusion/batch.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/io/jsonl.h"
#include "engine/io/npz.h"

namespace diffscm {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

void check_name(const std::string& name) {
  const bool plain = !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '-' || c == '_' || c == '=' || c == '.' || c == '+';
  });
  require(plain && name.front() != '.', "arm '{}' cannot name a folder", name);
}

fs::path records_of(const ExperimentOptions& o) {
  return o.out / "records" / fmt::format("{}-of-{}.jsonl", o.shard, o.shards);
}

// No two processes that are to share a folder give the same: shards of one N have different trials.
fs::path images_of(const ExperimentOptions& o, const std::string& arm, int64_t first_id) {
  const std::string part = o.shards > 1 ? fmt::format("-of-{}", o.shards) : "";
  return o.out / "images" / arm / fmt::format("{:06}{}.npz", first_id, part);
}

// Creates the folder, or checks that it holds the same experiment, which other shards may have
// begun.
void open_folder(const ExperimentOptions& o) {
  const fs::path settings = o.out / "experiment.json";
  if (!fs::exists(settings)) {
    fs::create_directories(o.out / "records");
    fs::create_directories(o.out / "images");
    io::atomic_write(settings, io::dump(o.settings, 2) + "\n");
    return;
  }
  const bool joins = o.shards > 1 && !fs::exists(records_of(o));
  require(o.resume || joins,
          "{} already holds an experiment: add --resume to continue it, or choose another --out",
          o.out.string());
  const io::Bytes bytes = io::read_file(settings, 1 << 20);
  const nlohmann::json stored =
      io::parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  require(stored.is_object(), "{} is not an experiment's settings", settings.string());
  // As it would have been stored.
  const nlohmann::json mine = io::parse_json(io::dump(o.settings));
  for (const auto& [key, value] : mine.items())
    require(stored.contains(key) && stored[key] == value,
            "cannot resume {}: it was started with {} = {}, now it is {}", o.out.string(), key,
            stored.contains(key) ? io::dump(stored[key]) : "nothing", io::dump(value));
}

Json to_line(const Record& r) {
  const Trial& t = r.trial;
  Json line = {{"arm", r.arm},     {"id", t.id},           {"repeat", t.repeat},
               {"index", t.index}, {"factual", t.factual}, {"set", t.set}};
  if (r.failed) line["failed"] = true;
  line["metrics"] = Json::object();
  for (const auto& [name, value] : r.metrics) line["metrics"][metric(name).name] = value;
  return line;
}

Record from_line(const nlohmann::json& line, const fs::path& path) {
  try {
    Record r{
        line.at("arm"),
        {line.at("id"), line.at("repeat"), line.at("index"), line.at("factual"), line.at("set")},
        {},
        line.value("failed", false)};
    for (const auto& [name, value] : line.at("metrics").items())
      r.metrics[metric(name).name] = value.is_null() ? std::nan("") : value.get<double>();
    return r;
  } catch (const nlohmann::json::exception&) {
    fail("{} holds a line that is not a result: {}", path.string(), io::show(io::dump(line)));
  }
}

// The images whose every pixel is finite.
std::vector<int64_t> finite_rows(const Tensor& images) {
  const std::vector<float> pixels = images.to_vector();
  const auto size = static_cast<std::ptrdiff_t>(images.numel() / images.dim(0));
  std::vector<int64_t> rows;
  for (int64_t n = 0; n < images.dim(0); ++n)
    if (std::all_of(pixels.begin() + n * size, pixels.begin() + (n + 1) * size,
                    [](float v) { return std::isfinite(v); }))
      rows.push_back(n);
  return rows;
}

// One record per trial of the batch: metrics where there is an image, failed where there is none.
std::vector<Record> judge(const Arm& arm, const Tensor& factual, const Tensor& image,
                          std::span<const Trial> batch, const Scorer& scorer) {
  std::vector<Record> records;
  for (const Trial& t : batch) records.push_back({arm.name, t, {}, true});
  const std::vector<int64_t> rows = finite_rows(image);
  if (rows.empty()) return records;
  std::vector<Trial> trials;
  for (const int64_t row : rows) trials.push_back(batch[static_cast<size_t>(row)]);
  const std::vector<Metrics> metrics = scorer(gather(factual, rows), gather(image, rows), trials);
  for (size_t i = 0; i < rows.size(); ++i) {
    Record& r = records[static_cast<size_t>(rows[i])];
    r.metrics = metrics[i];
    r.failed = false;
  }
  return records;
}

}  // namespace

void run_experiment(const data::Dataset& dataset, const std::vector<Trial>& trials,
                    const std::vector<Producer>& producers, const Scorer& scorer,
                    const ExperimentOptions& options,
                    const std::function<void(const ExperimentProgress&)>& progress) {
  require(options.shards >= 1 && options.shard >= 0 && options.shard < options.shards,
          "shard {} of {}: give 0/N to N-1/N", options.shard, options.shards);
  require(options.batch >= 1, "batch {} must be at least 1", options.batch);
  for (const Producer& producer : producers)
    for (const Arm& arm : producer.arms) check_name(arm.name);
  open_folder(options);

  std::set<std::pair<std::string, int64_t>> finished;
  for (const Record& r : read_records(options.out)) finished.emplace(r.arm, r.trial.id);
  io::JsonlWriter log(records_of(options), io::JsonlWriter::Mode::resume);

  std::vector<Trial> mine;
  std::copy_if(trials.begin(), trials.end(), std::back_inserter(mine),
               [&](const Trial& t) { return t.id % options.shards == options.shard; });
  ExperimentProgress state{
      .arms = {}, .done = 0, .total = static_cast<int64_t>(mine.size() * producers.size())};

  for (const Producer& producer : producers) {
    state.arms = producer.arms.front().name;
    const auto is_finished = [&](const Trial& t) {
      return std::all_of(producer.arms.begin(), producer.arms.end(), [&](const Arm& arm) {
        return finished.count({arm.name, t.id}) == 1;
      });
    };
    std::vector<Trial> pending;
    std::copy_if(mine.begin(), mine.end(), std::back_inserter(pending),
                 [&](const Trial& t) { return !is_finished(t); });
    state.done += static_cast<int64_t>(mine.size() - pending.size());
    if (progress) progress(state);
    for (size_t begin = 0; begin < pending.size(); begin += static_cast<size_t>(options.batch)) {
      const std::span<const Trial> batch = std::span(pending).subspan(
          begin, std::min(pending.size() - begin, static_cast<size_t>(options.batch)));
      std::vector<int64_t> index;
      for (const Trial& t : batch) index.push_back(t.index);
      const Tensor factual = dataset.images(index);
      const std::vector<ArmAnswer> answers = producer.answer(factual, batch);
      require(answers.size() == producer.arms.size(), "{} answers for {} arms", answers.size(),
              producer.arms.size());
      for (size_t a = 0; a < answers.size(); ++a) {
        const Arm& arm = producer.arms[a];
        const Tensor image = clamp_to_image(answers[a].image.to(Target::cpu));
        std::vector<Record> records = judge(arm, factual, image, batch, scorer);
        for (size_t i = 0; i < answers[a].extra.size(); ++i)
          records[i].metrics.insert(answers[a].extra[i].begin(), answers[a].extra[i].end());

        // The images first: a trial with a record must have its image. The archive is named by the
        // first unfinished trial, whose record is written first, so it replaces no finished one.
        std::vector<int64_t> rows, ids;
        for (size_t i = 0; i < batch.size(); ++i) {
          if (finished.count({arm.name, batch[i].id}) == 1) continue;
          rows.push_back(static_cast<int64_t>(i));
          ids.push_back(batch[i].id);
        }
        if (rows.empty()) continue;
        const fs::path archive = images_of(options, arm.name, ids.front());
        fs::create_directories(archive.parent_path());
        io::write_npz(archive, {{"id", io::NpyArray::from(ids, {static_cast<int64_t>(ids.size())})},
                                {"image", io::NpyArray::from(gather(image, rows))}});
        for (const int64_t row : rows) {
          const Record& r = records[static_cast<size_t>(row)];
          log.write(to_line(r));
          finished.emplace(r.arm, r.trial.id);
        }
      }
      state.done += static_cast<int64_t>(batch.size());
      if (progress) progress(state);
    }
  }
}

std::vector<Record> read_records(const fs::path& out) {
  const fs::path folder = out / "records";
  require(fs::is_directory(folder), "{} holds no experiment: {} is missing", out.string(),
          folder.string());
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == ".jsonl") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::map<std::pair<std::string, int64_t>, Record> all;
  for (const fs::path& file : files)
    for (const nlohmann::json& line : io::read_jsonl(file)) {
      Record r = from_line(line, file);
      all.emplace(std::pair{r.arm, r.trial.id}, std::move(r));
    }
  std::vector<Record> records;
  for (auto& [key, record] : all) records.push_back(std::move(record));
  return records;
}

Tensor read_images(const fs::path& out, const std::string& arm, std::span<const int64_t> ids) {
  std::map<int64_t, std::vector<float>> found;
  Shape shape;
  const fs::path folder = out / "images" / arm;
  require(fs::is_directory(folder), "{} holds no images of {}", out.string(), arm);
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".npz") continue;
    const io::NpyArrays arrays = io::read_npz(entry.path());
    require(arrays.count("id") == 1 && arrays.count("image") == 1,
            "{} lacks the arrays id and image", entry.path().string());
    const std::vector<int64_t> names = arrays.at("id").to_ints();
    const std::vector<float> pixels = arrays.at("image").to_floats();
    shape = arrays.at("image").shape;
    require(!names.empty() && shape.size() == 4 && shape[0] == static_cast<int64_t>(names.size()),
            "{}: {} ids for images {}", entry.path().string(), names.size(), to_string(shape));
    const size_t elements = pixels.size() / names.size();
    for (size_t i = 0; i < names.size(); ++i)
      found.emplace(names[i], std::vector<float>(pixels.begin() + i * elements,
                                                 pixels.begin() + (i + 1) * elements));
  }
  std::vector<float> all;
  for (const int64_t id : ids) {
    const auto image = found.find(id);
    require(image != found.end(), "{} lacks the image of trial {} of {}", out.string(), id, arm);
    all.insert(all.end(), image->second.begin(), image->second.end());
  }
  shape[0] = static_cast<int64_t>(ids.size());
  return Tensor::from(all, shape);
}

std::vector<Trial> sound_trials(const std::vector<Record>& records, const std::string& arm,
                                const std::vector<Trial>& trials) {
  std::set<int64_t> sound;
  for (const Record& r : records)
    if (r.arm == arm && !r.failed) sound.insert(r.trial.id);
  std::vector<Trial> result;
  std::copy_if(trials.begin(), trials.end(), std::back_inserter(result),
               [&](const Trial& t) { return sound.contains(t.id); });
  return result;
}

std::vector<int64_t> missing_trials(const std::vector<Record>& records, const std::string& arm,
                                    const std::vector<Trial>& trials) {
  std::set<int64_t> have;
  for (const Record& r : records)
    if (r.arm == arm) have.insert(r.trial.id);
  std::vector<int64_t> missing;
  for (const Trial& t : trials)
    if (have.count(t.id) == 0) missing.push_back(t.id);
  return missing;
}

}  // namespace diffscm
