#include "apps/evaluation.h"

#include <fmt/format.h>

#include <chrono>
#include <numeric>

#include "apps/config.h"
#include "apps/notes.h"
#include "apps/question.h"
#include "data/splits.h"
#include "diffusion/batch.h"
#include "diffusion/sampler.h"
#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/io/npz.h"
#include "evaluation/metrics/truth.h"
#include "training/epoch_order.h"

namespace diffscm::apps {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// "1/4" -> 1, 4
std::pair<int, int> parse_shard(const std::string& text) {
  constexpr int64_t kMost = 1'000'000;
  const size_t slash = text.find('/');
  if (slash == std::string::npos)
    throw UsageError(fmt::format("--shard {}: give I/N with 0 <= I < N", text));
  const int64_t shards = parse_whole(fmt::format("--shard {}: N", text), text.substr(slash + 1), 1,
                                     kMost),
                shard = parse_whole(fmt::format("--shard {}: I", text), text.substr(0, slash), 0,
                                    shards - 1);
  return {static_cast<int>(shard), static_cast<int>(shards)};
}

// Changes no sample, but a resumed run goes on from whole batches.
constexpr int64_t kSampleBatch = 50;

std::vector<int64_t> ids_of(const std::vector<Trial>& trials) {
  std::vector<int64_t> ids;
  for (const Trial& t : trials) ids.push_back(t.id);
  return ids;
}

}  // namespace

Evaluation::Evaluation(Common& common, const EvaluationFlags& flags)
    : common_(common), flags_(flags) {
  std::tie(shard_, shards_) = parse_shard(flags_.shard);
  const Target target = common.target();
  model_ = std::make_unique<DiffusionModel>(flags_.model, target, flags_.abduction.steps,
                                            common.layers());
  networks_ = std::make_unique<NetworkFolder>(flags_.networks, model_->info());
  guide_ = std::make_unique<AntiCausalPredictor>(networks_->find(flags_.classifier, "classifier"),
                                                 *model_);
  guide_->require_classifier("--classifier");
  abduction_ = flags_.abduction.options;
  as_usage([&] {
    abduction_.method = AbductionFlags(flags_.abduction).resolve(Encoding::unconditional);
    abduction_.seed = common.seed;
    abduction_.levels = model_->chain().levels_of_fraction(flags_.abduction.fraction);
    validate(abduction_);
  });
  const data::Split split = data::parse_split(flags_.split);
  if (split == data::Split::test) {
    data::Splits splits = data::load_splits(flags_.data);
    test_ = std::move(splits.test);
    train_ = std::move(splits.train);
  } else {
    test_ = train_ = data::load_dataset(flags_.data, split);
  }
  for (data::Dataset* dataset : {&test_, &train_}) {
    say_notes(common, *dataset);
    agree_on_states(*dataset, *model_, {guide_.get(), 1});
  }
  model_->check_fits(test_);
  evaluator_ = std::make_unique<Evaluator>(
      EvaluatorFiles{networks_->find(flags_.vae, "vae"),
                     networks_->find(flags_.autoencoders, "autoencoders"),
                     networks_->find(flags_.oracle, "oracle")},
      train_, target);
  require(guide_->classes() == test_.classes, "{} knows {} classes, {} has {}", guide_->info().path,
          guide_->classes(), test_.name, test_.classes);
  // Throws unless the classifier numbers the classes as the model does.
  by_parent({guide_.get(), 1}, test_.attributes);
  std::vector<const ModelInfo*> predictors = evaluator_->models();
  predictors.insert(predictors.begin(), &guide_->info());
  for (const ModelInfo* m : predictors) warn_of_other_data(common, model_->info(), *m);
  evaluator_->set_guide(
      [this, target](const Tensor& images) { return guide_->predict(images.to(target)); });
  trials_ =
      as_usage([&] { return draw_trials(test_, flags_.repeats, flags_.images, common.seed); });
}

Progress Evaluation::progress() const {
  return [](int, int) {
    if (stop_requested()) throw Stopped{};
  };
}

DiffScmOptions Evaluation::diff_scm_options(const std::vector<double>& scales) const {
  return {.abduction = abduction_,
          .scales = scales,
          .cycled_images = flags_.cycled_images,
          .images_per_repeat = flags_.images};
}

Producer Evaluation::diff_scm_method(const DiffScmOptions& options) const {
  as_usage([&] { diff_scm_action(*model_, *guide_, options, {&trials_[0], 1}); });
  return diff_scm(*model_, *guide_, options, progress());
}

std::vector<GradientAgreement> Evaluation::agreement() const {
  if (!knows_labels(*model_, test_)) return {};
  const auto count = static_cast<size_t>(std::min<int64_t>(flags_.images, 50));
  std::vector<int64_t> index;
  for (size_t i = 0; i < count; ++i) index.push_back(trials_[i].index);
  return gradient_agreement(*guide_, *model_, test_, index,
                            states_of({trials_.data(), count}).target, common_.seed);
}

std::vector<Metrics> Evaluation::score(const Tensor& factual, const Tensor& image,
                                       std::span<const Trial> trials) const {
  std::vector<int64_t> index;
  std::vector<data::Assignment> set;
  for (const Trial& t : trials) {
    index.push_back(t.index);
    set.push_back(t.set);
  }
  const States states = states_of(trials);
  const bool known = test_.world && std::ranges::all_of(trials, [&](const Trial& t) {
                       return test_.world->knows_image(t.index, t.set);
                     });
  const Tensor truth = known ? true_counterfactuals(test_, index, set) : Tensor();
  return evaluator_->score(factual, image, states.factual, states.target, truth);
}

Json Evaluation::settings(const Json& own) const {
  Json s = {{"data", test_.name},
            {"split", flags_.split},
            {"repeats", flags_.repeats},
            {"images", flags_.images},
            {"seed", common_.seed},
            {"steps", model_->chain().levels()},
            {"fraction", flags_.abduction.fraction},
            {"abduction", name_of(abduction_.method)},
            {"tolerance", abduction_.tolerance},
            {"max_iterations", abduction_.max_iterations},
            {"cycled", flags_.cycled_images},
            {"precision", common_.precision}};
  std::vector<const ModelInfo*> models = evaluator_->models();
  models.insert(models.begin(), {&model_->info(), &guide_->info()});
  for (const ModelInfo* m : models) s["models"][m->kind] = m->sha256;
  s.update(own);
  return s;
}

bool Evaluation::run(const std::vector<Producer>& producers, const Json& own) {
  // Shards write side by side: each keeps out its own kind only.
  folder_.emplace(flags_.out, own.at("command").get<std::string>(),
                  shards_ == 1 ? ".lock" : fmt::format(".lock-{}-of-{}", shard_, shards_));
  const auto start = std::chrono::steady_clock::now();
  int64_t done_before = -1;
  run_experiment(
      test_, trials_, producers,
      [this](const Tensor& factual, const Tensor& image, std::span<const Trial> trials) {
        return score(factual, image, trials);
      },
      {.out = flags_.out,
       .settings = settings(own),
       .shard = shard_,
       .shards = shards_,
       .batch = flags_.batch,
       .resume = flags_.resume},
      [&](const ExperimentProgress& p) {
        if (done_before < 0) done_before = p.done;
        const double elapsed =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        const double rate = static_cast<double>(p.done - done_before) / std::max(elapsed, 1e-9);
        common_.console.progress(p.arms, static_cast<double>(p.done), static_cast<double>(p.total),
                                 rate > 0 ? static_cast<double>(p.total - p.done) / rate : 0,
                                 fmt::format("{}/{} images, {:.2f}/s", p.done, p.total, rate));
        if (stop_requested()) throw Stopped{};
      });
  common_.console.finish_progress();
  records_ = read_records(flags_.out);
  for (const Producer& producer : producers)
    for (const Arm& arm : producer.arms)
      if (const auto missing = missing_trials(records_, arm.name, trials_); !missing.empty()) {
        common_.console.say(fmt::format("{} of {} images of {} are left to other shards",
                                        missing.size(), trials_.size(), arm.name));
        return false;
      }
  return true;
}

Tensor Evaluation::factual(const std::vector<Trial>& trials) const {
  std::vector<int64_t> index;
  for (const Trial& t : trials) index.push_back(t.index);
  return test_.images(index);
}

Tensor Evaluation::answers(const std::string& arm, const std::vector<Trial>& trials) const {
  return read_images(flags_.out, arm, ids_of(trials));
}

std::vector<ArmSummary> Evaluation::summaries(const std::vector<Producer>& producers) const {
  std::vector<Arm> arms;
  for (const Producer& p : producers) arms.insert(arms.end(), p.arms.begin(), p.arms.end());
  std::vector<ArmSummary> all = summarise(records_, arms);
  if (trials_.size() < 2) return all;  // one image is no set
  // As many real images, of the same classes as asked for.
  const Producer real = training_image(train_, common_.seed + 1);
  const auto real_features = [&](const std::vector<Trial>& trials) {
    return evaluator_->features(real.answer(factual(trials), trials).front().image);
  };
  const Matrix real_of_all = real_features(trials_);
  for (ArmSummary& s : all) {
    const std::vector<Trial> sound = sound_trials(records_, s.arm.name, trials_);
    if (sound.size() < 2) continue;
    const Matrix features = evaluator_->features(answers(s.arm.name, sound));
    const Matrix real_of_sound =
        sound.size() == trials_.size() ? real_of_all : real_features(sound);
    for (const auto& [name, value] : set_metrics(features, real_of_sound))
      s.metrics[name] = {value, std::nan(""), std::nan(""), features.rows};
  }
  return all;
}

std::vector<SampleSet> Evaluation::samples() const {
  std::vector<SampleSet> sets{{"samples", "Samples, told nothing", samples("samples", false)}};
  if (model_->is_conditional() && model_->first_unknown(train_.factual(0)).empty())
    sets.push_back({"samples-told", "Samples, told the parents of training images",
                    samples("samples-told", true)});
  return sets;
}

Tensor Evaluation::samples(const char* name, bool told) const {
  std::vector<Tensor> batches;
  const EpochOrder rows(train_.size(), common_.seed + 1);
  const fs::path folder = fs::path(flags_.out) / name;
  fs::create_directories(folder);
  in_batches(flags_.samples, kSampleBatch, [&](int64_t begin, int64_t end) {
    const fs::path file = folder / fmt::format("{:06}.npz", begin);
    if (!fs::exists(file)) {
      std::vector<int64_t> index(static_cast<size_t>(end - begin));
      std::iota(index.begin(), index.end(), begin);
      const Tensor noise =
          initial_noise(model_->image_shape(end - begin), index, common_.seed, model_->target());
      std::vector<data::Assignment> parents;
      if (told)
        for (const int64_t i : index) parents.push_back(train_.factual(rows.at(i)));
      const Tensor images =
          sample(told ? model_->epsilon(parents) : model_->epsilon(), {}, model_->chain(), 0, noise,
                 {.seed = common_.seed}, index, progress());
      io::write_npz(file, {{"image", io::NpyArray::from(clamp_to_image(images))}});
    }
    const io::NpyArrays arrays = io::read_npz(file);
    require(
        arrays.count("image") == 1 && arrays.at("image").shape == model_->image_shape(end - begin),
        "{} does not hold samples {} to {}: remove it", file.string(), begin, end - 1);
    batches.push_back(Tensor::from(arrays.at("image").to_floats(), arrays.at("image").shape));
    common_.console.progress(name, static_cast<double>(end), static_cast<double>(flags_.samples), 0,
                             fmt::format("{}/{} samples", end, flags_.samples));
  });
  common_.console.finish_progress();
  return concatenate(batches);
}

ReportInput Evaluation::report(const std::string& title) const {
  ReportInput input;
  input.title = title;
  input.facts = {
      {"data", fmt::format("{}, {} split, {} repeats of {} images, seed {}", test_.name,
                           flags_.split, flags_.repeats, flags_.images, common_.seed)},
      {"command", common_.command_line},
      {"device",
       fmt::format("{}, {}, {} threads", name_of(common_.target()), common_.precision, threads())},
      {"chain", fmt::format("{} levels, abduction {} over {:g} of it", model_->chain().levels(),
                            name_of(abduction_.method), flags_.abduction.fraction)}};
  std::vector<const ModelInfo*> models = evaluator_->models();
  models.insert(models.begin(), {&model_->info(), &guide_->info()});
  for (const ModelInfo* m : models)
    input.facts.emplace_back(m->kind,
                             fmt::format("{}, sha256 {}", m->path, m->sha256.substr(0, 16)));
  for (const Metric& m : metrics()) input.metrics.push_back(m.name);
  return input;
}

void Evaluation::write(ReportInput input) const {
  const std::vector<std::string> failures = failure_notes(input.summaries);
  input.notes.insert(input.notes.end(), failures.begin(), failures.end());
  const fs::path out = flags_.out;
  std::vector<ArmSummary> all = input.summaries;
  all.insert(all.end(), input.samples.begin(), input.samples.end());
  Json json = to_json(all);
  if (!input.agreement.empty())
    json.push_back({{"arm", "gradient-agreement"},
                    {"title", "Guiding classifier and conditional model, by noise level"},
                    {"options", Json::object()},
                    {"metrics", Json::object()},
                    {"by_noise_level", to_json(input.agreement)}});
  io::atomic_write(out / "summary.json", io::dump(json, 2) + "\n");
  io::atomic_write(out / "summary.csv", to_csv(all));
  if (flags_.report) write_report(out, input);
  if (common_.json) {
    fmt::print("{}\n", io::dump(json));
  } else if (!common_.quiet) {
    fmt::print("\n{}",
               to_table(input.summaries, {"cld", "oracle_flip", "guide_flip", "l1", "im1", "im2"}));
    if (!input.samples.empty())
      fmt::print("\n{}", to_table(input.samples, {"frechet", "mmd", "sure"}));
    if (!input.agreement.empty())
      fmt::print("\nguiding classifier and conditional model:\n{}", to_table(input.agreement));
    for (const std::string& note : input.notes) fmt::print("{}\n", note);
    fmt::print("{}\n", (out / (flags_.report ? "report.html" : "summary.csv")).string());
  }
}

}  // namespace diffscm::apps
