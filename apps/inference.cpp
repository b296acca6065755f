#include "apps/inference.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "apps/config.h"
#include "apps/output_folder.h"
#include "engine/io/file.h"
#include "engine/io/json.h"

namespace diffscm::apps {

AbductionMethod AbductionFlags::resolve(Encoding encoding) {
  if (method.empty())
    method = name_of(encoding == Encoding::factual ? AbductionMethod::ddpm
                                                   : AbductionMethod::fixed_point);
  return parse_abduction_method(method);
}

void warn_of_other_data(Common& common, const ModelInfo& model, const ModelInfo& predictor) {
  const auto name = [](const ModelInfo& info) {
    return info.data.is_object() ? info.data.value("name", nlohmann::json()) : nlohmann::json();
  };
  if (name(model) == name(predictor)) return;
  common.console.say(fmt::format("warning: {} was trained on the data set {}, {} on {}", model.path,
                                 io::dump(name(model)), predictor.path, io::dump(name(predictor))));
}

void warn_of_failed(Common& common, int64_t failed, int64_t images, const std::string& where) {
  common.console.say(fmt::format(
      "warning: {} of {} images{} failed, with pixels that are not finite: lower the scale", failed,
      images, where));
}

Selection select(const DataFlags& flags, const DiffusionModel& model) {
  Selection s{data::load_dataset(flags.data, data::parse_split(flags.split)), {}};
  model.check_fits(s.dataset);
  s.index = as_usage(
      [&] { return data::index_range_or_first(flags.index, DataFlags::kFirst, s.dataset.size()); });
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

double median(std::vector<double> values) {
  if (values.empty()) return std::nan("");
  std::sort(values.begin(), values.end());
  const size_t m = values.size() / 2;
  return values.size() % 2 == 1 ? values[m] : 0.5 * (values[m - 1] + values[m]);
}

void write_jsonl(const std::filesystem::path& path,
                 const std::vector<nlohmann::ordered_json>& lines) {
  io::atomic_write(path, [&](io::FileSink& sink) {
    for (const auto& line : lines) sink.write(io::dump(line) + "\n");
  });
}

void write_run(const std::filesystem::path& out, const Common& common,
               const nlohmann::ordered_json& options, const std::vector<const ModelInfo*>& models,
               const nlohmann::ordered_json& summary) {
  nlohmann::ordered_json run = run_record(common, options);
  for (const ModelInfo* m : models)
    run["models"].push_back({{"path", m->path},
                             {"kind", m->kind},
                             {"sha256", m->sha256},
                             {"config", m->config},
                             {"data", m->data}});
  run["summary"] = summary;
  io::atomic_write(out / "run.json", io::dump(run, 2) + "\n");
}

}  // namespace diffscm::apps
