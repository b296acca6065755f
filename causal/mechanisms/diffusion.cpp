#include "causal/mechanisms/diffusion.h"

#include <array>
#include <cmath>
#include <numbers>

#include "causal/mechanisms/categorical_network.h"
#include "causal/mechanisms/regression.h"
#include "engine/io/file.h"
#include "kernels/error.h"

namespace diffscm::causal {
namespace {

// What a network is told of x_theta, besides parents.
constexpr int64_t kOwn = 3;

bool is_conditional(Parameters& parameters) {
  return parameters.choice("form", {"conditional", "anti-causal"}) == "conditional";
}

// One training example of a row: x_theta and the v that made it, theta uniform over the half turn.
struct Noised {
  double x, sine, cosine, v;
};
Noised noised(double z, uint64_t seed, int64_t step, int64_t row) {
  RandomStream random({seed, kernels::Purpose::noise, static_cast<uint32_t>(step)},
                      static_cast<uint64_t>(row));
  const double theta = kPureNoise * random.uniform(), eps = random.normal();
  const double sine = std::sin(theta), cosine = std::cos(theta);
  return {cosine * z + sine * eps, sine, cosine, cosine * eps - sine * z};
}

// The same options for part `part` of `parts`, with a seed and a folder of its own.
FitOptions part_of(const FitOptions& options, size_t part, size_t parts) {
  FitOptions own = options;
  own.seed = options.seed + 0x9E3779B97F4A7C15u * part;
  if (!own.folder.empty()) own.folder /= std::to_string(part);
  if (options.progress)
    own.progress = [progress = options.progress, part, parts](double done, double total,
                                                              const std::string& note) {
      progress(static_cast<double>(part) * total + done, static_cast<double>(parts) * total, note);
    };
  return own;
}

}  // namespace

DiffusionMechanism::DiffusionMechanism(const Role& role)
    : DiffusionMechanism(role, Parameters(role.node.mechanism.parameters)) {}

DiffusionMechanism::DiffusionMechanism(const Role& role, Parameters parameters)
    : attribute_(role.node.attribute),
      parents_(role.node.parents),
      conditional_(is_conditional(parameters)) {
  require_continuous(role);
  const int members = parameters.get("members", 4);
  require(members >= 1 && members <= 100, "members is {}: give 1 to 100", members);
  const auto told = conditional_ ? std::span<const Node>(role.parents) : std::span<const Node>();
  const NetworkSettings of_member =
      network_settings(parameters, {.hidden = {64, 64, 64}, .fit = {.steps = 2000}});
  for (int m = 0; m < members; ++m) members_.emplace_back(told, kOwn, 1, of_member);
  score_share_ = parameters.number("score_share", 0.7, 0, 1);
  const NetworkSettings settings = network_settings(parameters, {.fit = {.steps = 2000}});
  flow_steps_ = parameters.get("flow_steps", 40);
  require(flow_steps_ >= 1 && flow_steps_ <= 10000, "flow_steps is {}: give 1 to 10000",
          flow_steps_);
  if (conditional_) {
    if (parameters.get("location_scale", false) && !role.parents.empty())
      location_scale_.emplace(role.parents, 0, affine_.outputs(), settings);
  } else {
    encode_factual_ = parameters.choice("encode", {"factual", "unconditional"}) == "factual";
    chained_ = parameters.get("chained", true);
    scale_ = parameters.number("scale", 1, 0, 1e6);
    for (const Node& parent : role.parents) {
      require(parent.kind != NodeKind::image, "its parent {} is an image", io::show(parent.name()));
      const size_t states = parent.attribute.states.size();
      const MixtureHead head;
      predictors_.push_back(
          {ParentNetwork(std::span(role.parents).first(chained_ ? predictors_.size() : 0), kOwn,
                         states > 0 ? static_cast<int64_t>(states) : head.outputs(), settings),
           head, states});
    }
  }
  parameters.finish();
}

double DiffusionMechanism::Predictor::loss(double value, std::span<const float> outputs,
                                           std::span<float> gradient) const {
  if (states > 0) return cross_entropy(static_cast<size_t>(value), outputs, gradient);
  return head.loss(standard.to(value), outputs, gradient);
}

std::vector<float> DiffusionMechanism::location_scale(Parents parents, int64_t rows) const {
  return location_scale_ ? (*location_scale_)(parents, rows) : std::vector<float>();
}

std::vector<double> DiffusionMechanism::to_standard(const Values& value,
                                                    std::span<const float> outputs) const {
  std::vector<double> z;
  for (size_t row = 0; row < value.numbers.size(); ++row) {
    z.push_back(marginal_.to(value.numbers[row]));
    if (location_scale_) z.back() = affine_.to_noise(z.back(), outputs.subspan(2 * row, 2));
  }
  return z;
}

Values DiffusionMechanism::abduct(const Values& value, Parents parents, const RowRandom&) const {
  const int64_t rows = value.rows();
  std::vector<double> x = to_standard(value, location_scale(parents, rows));
  integrate_flow(velocity(parents, rows, encode_factual_), 0, kPureNoise, flow_steps_, x);
  return Values(std::move(x));
}

Values DiffusionMechanism::predict(const Values& noise, Parents parents) const {
  const int64_t rows = noise.rows();
  std::vector<double> x = noise.numbers;
  integrate_flow(velocity(parents, rows, /*guided=*/true), kPureNoise, 0, flow_steps_, x);
  const std::vector<float> outputs = location_scale(parents, rows);
  for (size_t row = 0; row < x.size(); ++row) {
    if (location_scale_)
      x[row] = affine_.to_value(x[row], std::span<const float>(outputs).subspan(2 * row, 2));
    x[row] = nearest_within(attribute_, marginal_.from(x[row]));
  }
  return Values(std::move(x));
}

Values DiffusionMechanism::draw_noise(const RowRandom& random) const {
  require(is_fitted(), "the mechanism is not fitted: run diffscm scm fit");
  std::vector<double> noise;
  for (int64_t i = 0; i < random.size(); ++i) noise.push_back(random.stream(i).normal());
  return Values(std::move(noise));
}

std::vector<double> DiffusionMechanism::log_density(const Values& value, Parents parents) const {
  if (!has_log_density()) return Mechanism::log_density(value, parents);
  const int64_t rows = value.rows();
  const std::vector<float> outputs = location_scale(parents, rows);
  std::vector<double> x = to_standard(value, outputs), log_p(x.size(), 0.0);
  integrate_flow(velocity(parents, rows, true), 0, kPureNoise, flow_steps_, x, log_p);
  for (size_t row = 0; row < x.size(); ++row) {
    log_p[row] -= x[row] * x[row] / 2 + std::log(2 * std::numbers::pi) / 2;
    log_p[row] += marginal_.log_slope(value.numbers[row]);
    // The normal density of an affine noise of 0, but for its constant, is -log scale.
    if (location_scale_) {
      const auto here = std::span<const float>(outputs).subspan(2 * row, 2);
      log_p[row] -=
          affine_.loss(affine_.to_value(0, here), here, {}) - std::log(2 * std::numbers::pi) / 2;
    }
  }
  return log_p;
}

Velocity DiffusionMechanism::velocity(Parents parents, int64_t rows, bool guided) const {
  // The features of all members are the same: they saw the same rows.
  std::vector<float> inputs = members_[0].inputs(conditional_ ? parents : Parents{}, rows);
  std::vector<std::vector<float>> predicted;
  if (guided && scale_ > 0)
    for (size_t k = 0; k < predictors_.size(); ++k)
      predicted.push_back(predictors_[k].network.inputs(told(parents, k), rows));
  return [this, parents, inputs = std::move(inputs), predicted = std::move(predicted)](
             double theta, std::span<const double> x, std::span<double> v,
             std::span<double> slope) mutable {
    const double sine = std::sin(theta), cosine = std::cos(theta);
    const std::vector<double> sines(x.size(), sine), cosines(x.size(), cosine);
    const auto tell = [&](const ParentNetwork& network, std::span<float> own,
                          std::span<const double> at) {
      network.set_own(own, 0, at);
      network.set_own(own, 1, sines);
      network.set_own(own, 2, cosines);
    };
    tell(members_[0], inputs, x);
    std::fill(v.begin(), v.end(), 0.0);
    std::fill(slope.begin(), slope.end(), 0.0);
    const double share = 1 / static_cast<double>(members_.size());
    const auto width = static_cast<size_t>(members_[0].width());
    for (const ParentNetwork& member : members_) {
      if (slope.empty()) {
        const std::vector<float> outputs = evaluate(member.mlp(), inputs);
        for (size_t i = 0; i < v.size(); ++i) v[i] += share * outputs[i];
        continue;
      }
      const auto both = evaluate_with_gradient(member.mlp(), inputs, [](auto, auto weights) {
        std::fill(weights.begin(), weights.end(), 1.0f);
      });
      for (size_t i = 0; i < v.size(); ++i) v[i] += share * both.outputs[i];
      for (size_t i = 0; i < v.size(); ++i) slope[i] += share * both.gradient[i * width + 1];
    }

    // A predictor sees cos(theta) x, so that its gradient vanishes where x_theta says nothing any
    // more, and tan(theta) times it is finite.
    if (predicted.empty()) return;
    std::vector<double> seen(x.begin(), x.end());
    for (double& s : seen) s *= cosine;
    for (size_t k = 0; k < predicted.size(); ++k) {
      const Predictor& p = predictors_[k];
      tell(p.network, predicted[k], seen);
      const auto outputs = static_cast<size_t>(p.network.outputs());
      const auto both = evaluate_with_gradient(
          p.network.mlp(), predicted[k], [&](std::span<const float> out, std::span<float> weights) {
            for (size_t i = 0; i < x.size(); ++i)
              p.loss(parents[k]->numbers[i], out.subspan(i * outputs, outputs),
                     weights.subspan(i * outputs, outputs));
          });
      // d loss / dx is cos(theta) times that of the input, and -d log p / dx.
      for (size_t i = 0; i < x.size(); ++i)
        v[i] += scale_ * sine * both.gradient[i * static_cast<size_t>(p.network.width()) + 1];
    }
  };
}

void DiffusionMechanism::fit(const Values& value, Parents parents, const FitOptions& options) {
  marginal_ = MarginalTransform::of(value.numbers, score_share_);
  const size_t before = (location_scale_ ? 1 : 0) + predictors_.size();
  const size_t parts = before + members_.size();
  if (location_scale_) {
    std::vector<double> z;
    for (const double x : value.numbers) z.push_back(marginal_.to(x));
    location_scale_->fit(
        parents, value.rows(), {},
        [&](std::span<const int64_t> rows, int64_t, std::span<const float> outputs,
            std::span<float> gradient) {
          double sum = 0;
          for (size_t i = 0; i < rows.size(); ++i)
            sum += affine_.loss(z[static_cast<size_t>(rows[i])], outputs.subspan(2 * i, 2),
                                gradient.empty() ? gradient : gradient.subspan(2 * i, 2));
          return sum;
        },
        part_of(options, 0, parts), "location and scale");
  }
  const std::vector<double> z = to_standard(value, location_scale(parents, value.rows()));
  for (size_t k = 0; k < predictors_.size(); ++k) {
    if (predictors_[k].states == 0) predictors_[k].standard = Standard::of(parents[k]->numbers);
    fit_predictor(predictors_[k], z, *parents[k], told(parents, k), part_of(options, k, parts),
                  fmt::format("predictor of {}", parents_[k]));
  }
  for (size_t m = 0; m < members_.size(); ++m)
    fit_velocity(members_[m], z, conditional_ ? parents : Parents{},
                 part_of(options, before + m, parts));
}

void DiffusionMechanism::fit_velocity(ParentNetwork& member, std::span<const double> z,
                                      Parents parents, const FitOptions& options) {
  std::vector<double> target;
  member.fit(
      parents, std::ssize(z),
      [&](std::span<const int64_t> rows, int64_t step, std::span<float> own) {
        target.clear();
        for (size_t i = 0; i < rows.size(); ++i) {
          const Noised n = noised(z[static_cast<size_t>(rows[i])], options.seed, step, rows[i]);
          own[kOwn * i] = static_cast<float>(n.x);
          own[kOwn * i + 1] = static_cast<float>(n.sine);
          own[kOwn * i + 2] = static_cast<float>(n.cosine);
          target.push_back(n.v);
        }
      },
      [&](std::span<const int64_t> rows, int64_t, std::span<const float> v,
          std::span<float> gradient) {
        double sum = 0;
        for (size_t i = 0; i < rows.size(); ++i) {
          const double error = v[i] - target[i];
          if (!gradient.empty()) gradient[i] = static_cast<float>(2 * error);
          sum += error * error;
        }
        return sum;
      },
      options, "diffusion");
}

void DiffusionMechanism::fit_predictor(Predictor& predictor, std::span<const double> z,
                                       const Values& parent, Parents told,
                                       const FitOptions& options, const std::string& name) {
  const auto width = static_cast<size_t>(predictor.network.outputs());
  predictor.network.fit(
      told, std::ssize(z),
      [&](std::span<const int64_t> rows, int64_t step, std::span<float> own) {
        for (size_t i = 0; i < rows.size(); ++i) {
          const Noised n = noised(z[static_cast<size_t>(rows[i])], options.seed, step, rows[i]);
          own[kOwn * i] = static_cast<float>(n.cosine * n.x);
          own[kOwn * i + 1] = static_cast<float>(n.sine);
          own[kOwn * i + 2] = static_cast<float>(n.cosine);
        }
      },
      [&](std::span<const int64_t> rows, int64_t, std::span<const float> outputs,
          std::span<float> gradient) {
        double sum = 0;
        for (size_t i = 0; i < rows.size(); ++i)
          sum += predictor.loss(parent.numbers[static_cast<size_t>(rows[i])],
                                outputs.subspan(i * width, width),
                                gradient.empty() ? gradient : gradient.subspan(i * width, width));
        return sum;
      },
      options, name);
}

MechanismState DiffusionMechanism::state() const {
  MechanismState state;
  for (size_t m = 0; m < members_.size(); ++m)
    members_[m].save(state, fmt::format("velocity.{}", m));
  if (location_scale_) location_scale_->save(state, "location_scale");
  for (size_t k = 0; k < predictors_.size(); ++k) {
    predictors_[k].network.save(state, fmt::format("predictor.{}", k));
    state.values["parents"].push_back(predictors_[k].standard);
  }
  state.values["transform"] = marginal_;
  return state;
}

void DiffusionMechanism::load(const MechanismState& given) {
  MechanismState state = given;
  for (size_t m = 0; m < members_.size(); ++m)
    members_[m].load(state, fmt::format("velocity.{}", m));
  if (location_scale_) location_scale_->load(state, "location_scale");
  const auto taken = [&](const char* name) {
    require(state.values.contains(name), "the entry {} is missing", name);
    const nlohmann::json value = state.values[name];
    state.values.erase(name);
    return value;
  };
  if (!predictors_.empty()) {
    const nlohmann::json standards = taken("parents");
    require(standards.is_array() && standards.size() == predictors_.size(),
            "{} entries of parents, not {}", standards.size(), predictors_.size());
    for (size_t k = 0; k < predictors_.size(); ++k) {
      predictors_[k].network.load(state, fmt::format("predictor.{}", k));
      standards[k].get_to(predictors_[k].standard);
    }
  }
  taken("transform").get_to(marginal_);
  require_empty(state);
}

std::string DiffusionMechanism::description() const {
  if (conditional_) return "diffusion, conditional";
  return fmt::format("diffusion with {}anti-causal predictors, encoded {}",
                     chained_ ? "chained " : "",
                     encode_factual_ ? "with the factual parents" : "unconditionally");
}

std::unique_ptr<Mechanism> make_diffusion(const Role& role) {
  return std::make_unique<DiffusionMechanism>(role);
}

}  // namespace diffscm::causal
