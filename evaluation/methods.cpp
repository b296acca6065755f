#include "evaluation/methods.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "diffusion/batch.h"
#include "evaluation/baselines/sampling.h"
#include "evaluation/metrics/fidelity.h"

namespace diffscm {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::vector<int64_t> ids_of(std::span<const Trial> trials) {
  std::vector<int64_t> ids;
  for (const Trial& t : trials) ids.push_back(t.id);
  return ids;
}

// A producer of one arm whose cost is the same for every image of a batch.
template <class Answer>
Producer one_arm(Arm arm, Answer answer) {
  return {{std::move(arm)}, [answer](const Tensor& factual, std::span<const Trial> trials) {
            const auto start = Clock::now();
            ArmAnswer a = answer(factual, trials);
            a.extra.resize(trials.size());
            const double seconds = seconds_since(start) / static_cast<double>(trials.size());
            for (Metrics& m : a.extra) m["seconds"] = seconds;
            return std::vector<ArmAnswer>{std::move(a)};
          }};
}

std::vector<Metrics> same_for_all(size_t n, const Metrics& metrics) {
  return std::vector<Metrics>(n, metrics);
}

Json options_json(const AbductionOptions& o) {
  return {{"abduction", name_of(o.method)},
          {"levels", o.levels},
          {"tolerance", o.tolerance},
          {"max_iterations", o.max_iterations}};
}

Intervention intervention_of(std::span<const Trial> trials) {
  Intervention result;
  for (const Trial& t : trials) {
    result.targets.push_back(t.set);
    result.factual.push_back(t.factual);
  }
  return result;
}

// Back from where these trials went: set anew what they set, as it was.
std::vector<Trial> way_back(std::span<const Trial> trials) {
  std::vector<Trial> back(trials.begin(), trials.end());
  for (Trial& t : back)
    for (auto& [name, value] : t.set) std::swap(value, t.factual.at(name));
  return back;
}

// One factual batch through Diff-SCM and what the metrics of the method itself need.
class DiffScm {
 public:
  DiffScm(const DiffusionModel& model, const AntiCausalPredictor& predictor,
          const DiffScmOptions& options, const Progress& progress)
      : model_(model), predictor_(predictor), options_(options), progress_(progress) {}

  std::vector<ArmAnswer> operator()(const Tensor& factual, std::span<const Trial> trials) const {
    const auto start = Clock::now();
    const Action action = diff_scm_action(model_, predictor_, options_, trials);
    const Counterfactual result = run(action, factual, trials, options_.scales);
    const double seconds = seconds_since(start) / static_cast<double>(trials.size()) /
                           static_cast<double>(options_.scales.size());
    const int levels = model_.chain().checked_levels(options_.abduction.levels);

    std::vector<ArmAnswer> answers;
    for (size_t s = 0; s < options_.scales.size(); ++s) {
      const Guidance guidance = action.guidance.scaled(options_.scales[s]),
                     factual_guidance = action.factual.scaled(options_.scales[s]);
      const Abduction& u = result.abduction[result.source(s)];
      const std::vector<double> once = l1_grey_levels(
          factual, clamp_to_image(result.reconstruction[result.source(s)].to(Target::cpu)));
      ArmAnswer answer{result.counterfactual[s], {}};
      for (size_t i = 0; i < trials.size(); ++i) {
        Metrics m{{"composition_1", once[i]},
                  {"evaluations", u.evaluations[i] + levels * asked(guidance)},
                  {"gradients", u.evaluations[i] * asked(factual_guidance.gradients) +
                                    levels * asked(guidance.gradients)},
                  {"seconds", seconds}};
        if (!u.residual.empty()) {
          m["residual"] = u.residual[i];
          m["converged"] = u.converged[i];
        }
        answer.extra.push_back(std::move(m));
      }
      answers.push_back(std::move(answer));
    }
    add_cycles(factual, trials, answers);
    return answers;
  }

 private:
  static int asked(const std::vector<Guidance::Term>& terms) {
    return static_cast<int>(
        std::count_if(terms.begin(), terms.end(), [](const auto& t) { return t.scale > 0; }));
  }
  // Evaluations of the U-Net per level, as Denoiser asks them.
  static int asked(const Guidance& guidance) {
    const int conditions = asked(guidance.conditions);
    return conditions == 1 && guidance.conditions[0].scale == 1 ? 1 : 1 + conditions;
  }

  Counterfactual run(const Action& action, const Tensor& image, std::span<const Trial> trials,
                     const std::vector<double>& scales) const {
    CounterfactualOptions options{
        .abduction = options_.abduction, .scales = scales, .threshold = {}};
    for (const Trial& t : trials) options.abduction.index.push_back(t.index);
    return counterfactual(action, model_.chain(), image.to(model_.target()), options, progress_);
  }

  // Ten null interventions, and the way back, for the first images of each repeat.
  void add_cycles(const Tensor& factual, std::span<const Trial> trials,
                  std::vector<ArmAnswer>& answers) const {
    std::vector<int64_t> rows;
    std::vector<Trial> cycled;
    for (size_t i = 0; i < trials.size(); ++i)
      if (trials[i].id % options_.images_per_repeat < options_.cycled_images) {
        rows.push_back(static_cast<int64_t>(i));
        cycled.push_back(trials[i]);
      }
    if (rows.empty()) return;
    const Tensor start = gather(factual, rows);
    const Action there_action = diff_scm_action(model_, predictor_, options_, cycled),
                 back_action = diff_scm_action(model_, predictor_, options_, way_back(cycled));
    std::vector<double> ten;
    for (size_t s = 0; s < answers.size(); ++s) {
      const Action null{there_action.epsilon, {}, there_action.factual.scaled(options_.scales[s])};
      const auto nothing = [&](const Tensor& image) {
        return clamp_to_image(run(null, image, cycled, {}).reconstruction[0].to(Target::cpu));
      };
      if (s == 0 || !null.factual.empty())
        ten = composition(nothing, start, std::vector<int>{10})[0];
      const auto intervene = [&](const Tensor& image, std::span<const int64_t>) {
        return clamp_to_image(run(back_action, image, cycled, {options_.scales[s]})
                                  .counterfactual[0]
                                  .to(Target::cpu));
      };
      const Tensor there = clamp_to_image(gather(answers[s].image.to(Target::cpu), rows));
      const std::vector<double> back =
          reversibility(intervene, start, there, states_of(cycled).factual);
      for (size_t i = 0; i < rows.size(); ++i) {
        Metrics& m = answers[s].extra[static_cast<size_t>(rows[i])];
        m["composition_10"] = ten[i];
        m["reversibility"] = back[i];
      }
    }
  }

  const DiffusionModel& model_;
  const AntiCausalPredictor& predictor_;
  const DiffScmOptions options_;
  const Progress progress_;
};

}  // namespace

Action diff_scm_action(const DiffusionModel& model, const AntiCausalPredictor& predictor,
                       const DiffScmOptions& options, std::span<const Trial> trials) {
  require(!trials.empty() && !trials[0].set.empty(), "an intervention on nothing");
  return act(
      guiding_networks(options.guidance, model, {{trials[0].set.begin()->first, &predictor}}),
      intervention_of(trials), options.encoding);
}

Producer diff_scm(const DiffusionModel& model, const AntiCausalPredictor& predictor,
                  const DiffScmOptions& options, const Progress& progress) {
  Producer producer{{}, DiffScm(model, predictor, options, progress)};
  for (const double s : options.scales) {
    Json json = options_json(options.abduction);
    json["guidance"] = name_of(options.guidance);
    json["encode"] = name_of(options.encoding);
    json["scale"] = s;
    const bool several = options.scales.size() > 1;
    producer.arms.push_back({several ? fmt::format("s={}", s) : options.name,
                             several ? fmt::format("{}, s = {}", options.title, s) : options.title,
                             json});
  }
  return producer;
}

Producer guided_sampling(const DiffusionModel& model, const AntiCausalPredictor& predictor,
                         double scale, uint64_t seed, const Progress& progress) {
  const Arm arm{"guided-sample", "Guided sampling, no abduction", {{"scale", scale}}};
  return one_arm(arm, [&model, &predictor, scale, seed, progress](const Tensor& factual,
                                                                  std::span<const Trial> trials) {
    const double levels = model.chain().levels();
    return ArmAnswer{
        baselines::guided_sample(
            model.epsilon(), {.gradients = {{predictor.gradient(states_of(trials).target), scale}}},
            model.chain(), factual.shape(), model.target(), {.seed = seed}, ids_of(trials),
            progress),
        same_for_all(trials.size(), {{"evaluations", levels}, {"gradients", levels}})};
  });
}

Producer sdedit(const DiffusionModel& model, const AntiCausalPredictor& predictor, double scale,
                double fraction, uint64_t seed, const Progress& progress) {
  const int levels = model.chain().levels_of_fraction(fraction);
  const Arm arm{"sdedit",
                fmt::format("SDEdit from {:g} of the chain", fraction),
                {{"scale", scale}, {"fraction", fraction}}};
  return one_arm(arm, [&model, &predictor, scale, levels, seed, progress](
                          const Tensor& factual, std::span<const Trial> trials) {
    return ArmAnswer{
        baselines::sdedit(model.epsilon(),
                          {.gradients = {{predictor.gradient(states_of(trials).target), scale}}},
                          model.chain(), levels, factual.to(model.target()),
                          {.kind = SamplerKind::ddpm, .seed = seed}, ids_of(trials), progress),
        same_for_all(trials.size(), {{"evaluations", levels}, {"gradients", levels}})};
  });
}

namespace {

ArmAnswer as_answer(const baselines::Explanation& e) {
  ArmAnswer answer{e.image, {}};
  for (size_t i = 0; i < e.found.size(); ++i)
    answer.extra.push_back({{"found", e.found[i]}, {"gradients", e.iterations[i]}});
  return answer;
}

}  // namespace

Producer prototype_guided(baselines::PrototypeNetworks networks,
                          const baselines::PrototypeOptions& options, Target target,
                          const Progress& progress) {
  const Arm arm{"prototype",
                "Van Looveren & Klaise (prototypes)",
                {{"c", options.c},
                 {"c_steps", options.c_steps},
                 {"beta", options.beta},
                 {"gamma", options.gamma},
                 {"theta", options.theta},
                 {"iterations", options.iterations}}};
  return one_arm(arm, [networks = std::move(networks), options, target, progress](
                          const Tensor& factual, std::span<const Trial> trials) {
    return as_answer(baselines::prototype_guided(networks, factual.to(target),
                                                 states_of(trials).target, options, progress));
  });
}

Producer greedy_pixels(baselines::ImageFunction logits, const baselines::GreedyOptions& options,
                       Target target, const Progress& progress) {
  const Arm arm{"greedy",
                "Schut et al. (greedy pixels)",
                {{"changes", options.changes},
                 {"max_iterations", options.max_iterations},
                 {"confidence", options.confidence}}};
  return one_arm(arm, [logits = std::move(logits), options, target, progress](
                          const Tensor& factual, std::span<const Trial> trials) {
    return as_answer(
        baselines::greedy(logits, factual.to(target), states_of(trials).target, options, progress));
  });
}

Producer factual_itself() {
  return one_arm({"factual", "The factual image itself", {}},
                 [](const Tensor& factual, std::span<const Trial>) {
                   return ArmAnswer{factual, {}};
                 });
}

Producer training_image(const data::Dataset& train, uint64_t seed) {
  require(!train.labels.empty(), "{} has no labels: no image of a class can be drawn", train.name);
  std::vector<std::vector<int64_t>> members(static_cast<size_t>(train.classes));
  for (int64_t i = 0; i < train.size(); ++i)
    members[static_cast<size_t>(train.labels[static_cast<size_t>(i)])].push_back(i);
  for (size_t c = 0; c < members.size(); ++c)
    require(!members[c].empty(), "{} has no image of class {}", train.name, c);
  return one_arm(
      {"training-image", "A training image of the target class", {}},
      [&train, members = std::move(members), seed](const Tensor&, std::span<const Trial> trials) {
        std::vector<int64_t> index;
        const States states = states_of(trials);
        for (size_t i = 0; i < trials.size(); ++i) {
          const auto& of_class = members[static_cast<size_t>(states.target[i])];
          const kernels::Philox draw = kernels::philox({seed, kernels::Purpose::order, 2},
                                                       static_cast<uint64_t>(trials[i].id), 0);
          index.push_back(of_class[draw.word[0] % of_class.size()]);
        }
        return ArmAnswer{train.images(index), {}};
      });
}

Producer bound_answer(const Bound& bound, Target target) {
  const Arm arm{"bound", "Mean of the true counterfactuals, given the image", {}};
  return one_arm(arm, [&bound, target](const Tensor& factual, std::span<const Trial> trials) {
    return ArmAnswer{bound.answer(factual.to(target), states_of(trials).target), {}};
  });
}

}  // namespace diffscm
