// diffscm train vae|oracle|autoencoder|ensemble: the networks that judge counterfactuals, and the
// classifier that the classical baselines explain.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "apps/notes.h"
#include "apps/training.h"
#include "engine/random.h"
#include "models/autoencoder.h"
#include "models/mlp_ensemble.h"
#include "models/oracle.h"
#include "models/vae.h"
#include "training/clean_batches.h"

namespace diffscm::apps {
namespace {

using nlohmann::json;

constexpr int64_t kTestBatch = 200;

// Calls visit(images, labels) for the first `count` test images, batch by batch.
void each_test_batch(const data::Dataset& test, int64_t count, Target target,
                     const std::function<void(const Tensor&, const std::vector<int64_t>&)>& visit) {
  count = std::min(count, test.size());
  for (int64_t begin = 0; begin < count; begin += kTestBatch) {
    std::vector<int64_t> index(static_cast<size_t>(std::min(kTestBatch, count - begin)));
    std::iota(index.begin(), index.end(), begin);
    visit(test.images(index).to(target),
          test.labels.empty() ? std::vector<int64_t>{} : test.labels_of(index));
  }
}

// Of all test images.
json test_accuracy(Common& common, const data::Dataset& test,
                   const std::function<Tensor(const Tensor&)>& logits) {
  const NoGrad no_grad;
  int64_t correct = 0;
  each_test_batch(test, test.size(), common.target(),
                  [&](const Tensor& x, const std::vector<int64_t>& labels) {
                    const ClassProbabilities p = softmax(logits(x));
                    for (size_t i = 0; i < p.size(); ++i) correct += argmax(p[i]) == labels[i];
                  });
  const double accuracy = static_cast<double>(correct) / static_cast<double>(test.size());
  common.console.say(
      fmt::format("accuracy on {} test images: {:.2f}%", test.size(), 100 * accuracy));
  return {{"test_accuracy", accuracy}};
}

double sum(const Tensor& values) {
  const std::vector<float> v = values.to_vector();
  return std::accumulate(v.begin(), v.end(), 0.0);
}

}  // namespace

void train_vae(Common& common, TrainFlags flags) {
  json config = load_config(flags.preset, flags.overrides);
  const json& train = train_section(config, "vae");
  const TrainingOptions options = training_options(train, "vae", {"beta"}, flags, common);
  const auto beta = entry<double>(train, "train.vae", "beta");
  require(beta > 0 && std::isfinite(beta), "train.vae.beta is {}, must be positive", beta);
  const TrainingData data = load_training_data(flags, /*labels=*/false);
  fit_to_data(config, "vae", data.train, flags, common);
  const CleanBatches batches(data.train, {}, options.batch, options.seed, common.target());
  const auto noise_of = [&](int64_t n, int64_t latent, kernels::Purpose purpose, int64_t first) {
    std::vector<int64_t> stream(static_cast<size_t>(n));
    std::iota(stream.begin(), stream.end(), first);
    return standard_normal({n, latent}, {options.seed, purpose, 0}, stream, common.target());
  };
  train_model<Vae>(
      common, flags, "vae", config, section(config, "vae").get<VaeConfig>(), data.train, options,
      [&](Vae& vae, int64_t step) {
        return TrainingBatch{batches.batch(step).x,
                             noise_of(options.batch, vae.config().latent, kernels::Purpose::noise,
                                      step * options.batch)};
      },
      [&](Vae& vae, const TrainingBatch& batch, ForwardContext&) {
        return vae.loss(batch[0], batch[1], beta);
      },
      [&](Vae& vae) {
        const NoGrad no_grad;
        const data::Dataset& test = data.test;
        double objective = 0, divergence = 0;
        int64_t seen = 0;
        each_test_batch(test, 2000, common.target(), [&](const Tensor& x, const auto&) {
          const Tensor noise =
              noise_of(x.dim(0), vae.config().latent, kernels::Purpose::sampler, seen);
          objective += sum(vae.loss(x, noise, beta).value());
          divergence += sum(gaussian_latent(vae.encode(x), noise).kl.value());
          seen += x.dim(0);
        });
        const auto n = static_cast<double>(seen);
        const double squared = 2 * (objective - beta * divergence) / n;
        common.console.say(fmt::format(
            "{} test images: objective {:.3f}, divergence from the prior {:.2f} nats, "
            "reconstruction error (RMS) {:.1f} grey levels",
            seen, objective / n, divergence / n,
            127.5 * std::sqrt(squared /
                              static_cast<double>(test.height * test.width * test.channels))));
        return json{{"test_objective", objective / n},
                    {"test_divergence_nats", divergence / n},
                    {"test_squared_error", squared}};
      });
}

void train_oracle(Common& common, TrainFlags flags) {
  json config = load_config(flags.preset, flags.overrides);
  const TrainingOptions options =
      training_options(train_section(config, "oracle"), "oracle", {}, flags, common);
  const TrainingData data = load_training_data(flags, /*labels=*/true);
  fit_to_data(config, "oracle", data.train, flags, common);
  const auto model_config = section(config, "oracle").get<OracleConfig>();
  const CleanBatches batches(data.train, {}, options.batch, options.seed, common.target());
  train_model<Oracle>(
      common, flags, "oracle", config, model_config, data.train, options,
      [&](Oracle&, int64_t step) { return batches.batch(step).with_labels(); },
      [&](Oracle& oracle, const TrainingBatch& batch, ForwardContext&) {
        return negate(log_softmax_at(oracle.forward(batch[0]), batch[1]));
      },
      [&](Oracle& oracle) {
        return test_accuracy(common, data.test,
                             [&](const Tensor& x) { return oracle.forward(x).value(); });
      });
}

void train_ensemble(Common& common, TrainFlags flags) {
  json config = load_config(flags.preset, flags.overrides);
  const json& train = train_section(config, "ensemble");
  const TrainingOptions options = training_options(train, "ensemble", {"attack"}, flags, common);
  const auto step = entry<double>(train, "train.ensemble", "attack");
  require(step >= 0 && step <= 2, "train.ensemble.attack is {}, must be from 0 to 2", step);
  const TrainingData data = load_training_data(flags, /*labels=*/true);
  fit_to_data(config, "ensemble", data.train, flags, common);
  const auto model_config = section(config, "ensemble").get<MlpEnsembleConfig>();
  const CleanBatches batches(data.train, {}, options.batch, options.seed, common.target());
  train_model<MlpEnsemble>(
      common, flags, "ensemble", config, model_config, data.train, options,
      [&](MlpEnsemble& ensemble, int64_t number) {
        TrainingBatch batch = batches.batch(number).with_labels();
        const auto attacks = ensemble.attacks(batch[0], batch[1], static_cast<float>(step));
        batch.insert(batch.end(), attacks.begin(), attacks.end());
        return batch;
      },
      [&](MlpEnsemble& ensemble, const TrainingBatch& batch, ForwardContext&) {
        return ensemble.adversarial_loss(batch[0], batch[1], std::span(batch).subspan(2));
      },
      [&](MlpEnsemble& ensemble) {
        return test_accuracy(common, data.test,
                             [&](const Tensor& x) { return ensemble.mean_logits(x).value(); });
      });
}

// One run per network in OUT/class.0 ..., OUT/all; OUT/model.safetensors holds them all.
void train_autoencoders(Common& common, TrainFlags flags) {
  require(flags.init.empty(), "--init: not for autoencoders, each starts from random weights");
  json config = load_config(flags.preset, flags.overrides);
  const TrainingData data = load_training_data(flags, /*labels=*/true);
  const data::Dataset& dataset = data.train;
  fit_to_data(config, "autoencoders", dataset, flags, common);
  const auto model_config = section(config, "autoencoders").get<AutoencodersConfig>();
  Autoencoders model(model_config, common.seed);
  for (const auto& [name, p] : named_parameters(model))
    p->variable = Variable(p->variable.value().to(common.target()));

  for (int64_t i = 0; i < model_config.classes; ++i) images_of_class(dataset, i);  // or it throws
  say_notes(common, dataset);
  TrainingOptions whole;
  whole.out = flags.out;
  const OutputFolder folder(whole.out, "train");
  TrainingEnd end = TrainingEnd::finished;
  NamedTensors state;
  json runs = json::object();
  ModelInfo info;
  for (int64_t i = 0; i <= model_config.classes && end == TrainingEnd::finished; ++i) {
    const bool of_class = i < model_config.classes;
    const std::string name = Autoencoders::name(model_config, i);
    json train = train_section(config, "autoencoder");
    const std::vector<int64_t> rows =
        of_class ? images_of_class(dataset, i) : std::vector<int64_t>{};
    const double images = static_cast<double>(of_class ? rows.size() : dataset.labels.size());
    const auto epochs =
        entry<double>(train, "train.autoencoder", of_class ? "epochs_per_class" : "epochs_of_all");
    const auto batch = static_cast<double>(
        flags.batch > 0 ? flags.batch : entry<int64_t>(train, "train.autoencoder", "batch"));
    train["steps"] = static_cast<int64_t>(std::max(1.0, std::ceil(epochs * images / batch)));
    TrainingOptions options = training_options(
        train, "autoencoder", {"epochs_per_class", "epochs_of_all"}, flags, common);
    options.out = whole.out / name;
    // A run that was stopped between two networks goes on with the next.
    options.resume = flags.resume;

    const CleanBatches batches(dataset, rows, options.batch, options.seed, common.target());
    Autoencoder& network = model.network(i);
    TrainingTask task =
        new_task("autoencoder", model_config, train, options, dataset, flags, common);
    task.info.data["network"] = name;
    network.visit(name, [&](const std::string& parameter, Parameter& p) {
      task.parameters.emplace_back(parameter, &p);
    });
    task.batch = [&](int64_t step) { return TrainingBatch{to_unit_range(batches.batch(step).x)}; };
    task.loss = [&](const TrainingBatch& u, ForwardContext&) {
      return mse_loss(network.forward(u[0]), u[0]);
    };
    end = train_with_progress(common, flags, "autoencoder " + name, task, options, config);
    if (end != TrainingEnd::finished) break;
    auto [saved, tensors] = read_model(options.out);
    load_state(task.parameters, tensors);
    state.merge(tensors);
    runs[name] = {{"steps", saved.training["steps"]},
                  {"samples_seen", saved.training["samples_seen"]},
                  {"seconds", saved.training["seconds"]},
                  {"loss", saved.training["loss"]}};
    info = task.info;
  }
  if (end == TrainingEnd::finished) {
    info.kind = Autoencoders::kKind;
    info.data.erase("network");
    info.training["seed"] = common.seed;
    info.training["networks"] = runs;
    write_model(whole.out / "model.safetensors", info, state);
  }
  report_end(common, end, whole, [&] {
    const NoGrad no_grad;
    const data::Dataset& test = data.test;
    double own = 0, all = 0;
    each_test_batch(
        test, 2000, common.target(), [&](const Tensor& x, const std::vector<int64_t>& labels) {
          const Tensor u = to_unit_range(x);
          all += sum(mse_loss(model.of_all().forward(u), u).value());
          for (int64_t n = 0; n < u.dim(0); ++n) {
            const Tensor one = u.slice(n, n + 1);
            own += sum(
                mse_loss(model.of_class(labels[static_cast<size_t>(n)]).forward(one), one).value());
          }
        });
    const auto count = static_cast<double>(std::min<int64_t>(2000, test.size()));
    common.console.say(fmt::format(
        "test images, mean squared error in [0, 1]: {:.5f} by the own class, {:.5f} by all",
        own / count, all / count));
    return json{{"test_mse_own_class", own / count}, {"test_mse_all", all / count}};
  });
}

}  // namespace diffscm::apps
