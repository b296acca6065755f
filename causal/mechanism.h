// What makes a node of its parents and its own noise: x = f(parents, noise), and the way back.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "causal/graph.h"
#include "causal/row_random.h"
#include "data/table.h"
#include "engine/target.h"

namespace diffscm::causal {

using data::Values;

// The parents' values for the rows of a batch, in the order of Node::parents.
using Parents = std::span<const Values* const>;

// What a mechanism is made for: its node, and its parents in order, without their mechanisms.
struct Role {
  Node node;
  std::vector<Node> parents;
};
Role role_of(const Graph& graph, size_t node);

struct FitOptions {
  uint64_t seed = 0;
  Target target = Target::cpu;
  Dtype layers = Dtype::f32;
  // Where a long fit keeps what it goes on from when it is asked again, and its log.
  std::filesystem::path folder{};
  // True: end the fit at the next place from which it can go on, by asking `progress` once more.
  std::function<bool()> stop = {};
  // Told how much of `total` is done, in the mechanism's own units, and a word about it. What it
  // throws ends the fit.
  std::function<void(double done, double total, const std::string& note)> progress = {};
};

// What a mechanism has learned, or was told and keeps: tensors (f32, i64) and exact numbers.
struct MechanismState {
  std::map<std::string, Tensor> tensors;
  nlohmann::json values = nlohmann::json::object();
};

// How abduct() knows the noise.
enum class Abduction {
  exact,      // the only noise that makes the value
  posterior,  // a draw from p(noise | value, parents); predict() returns the value all the same
  impossible  // abduct() throws Error
};

// How a discrete node's noise makes its states under different parents.
enum class Coupling {
  gumbel_max,   // argmax_k (log p_k + g_k), g independent standard Gumbels
  inverse_cdf,  // the first k with p_0 + .. + p_k > u, u uniform
  unknown       // otherwise: counterfactuals are not known in closed form
};

// Functions of batches of rows. Tabular values are one double per row: the number, or the state's
// index. Noise may have any width, or be images. All are pure functions of their arguments, and a
// row's result depends on that row alone. They throw Error when the mechanism is not fitted.
class Mechanism {
 public:
  virtual ~Mechanism() = default;

  virtual Abduction abduction() const = 0;
  // Noise with predict(abduct(value, parents), parents) = value. Throws Error naming the row's
  // value when no noise makes it (probability zero, out of range).
  virtual Values abduct(const Values& value, Parents parents, const RowRandom& random) const = 0;
  virtual Values predict(const Values& noise, Parents parents) const = 0;
  // What `factual` would have been under these parents, given its own noise: predict(), unless the
  // mechanism knows more of what changed parents leave alone.
  virtual Values counterfactual([[maybe_unused]] const Values& factual, const Values& noise,
                                Parents parents) const {
    return predict(noise, parents);
  }
  // random.size() rows from the noise's own distribution, which no parent changes.
  virtual Values draw_noise(const RowRandom& random) const = 0;

  // log p(value | parents) in nats, per row: of a density, or of a probability; -inf where it is
  // zero. Throws Error unless has_log_density().
  virtual bool has_log_density() const { return false; }
  virtual std::vector<double> log_density(const Values& value, Parents parents) const;

  // Of a discrete node with log_density(); then p(value | parents) and this are the whole
  // mechanism.
  virtual Coupling coupling() const { return Coupling::unknown; }

  // Learns from rows without missing values. A mechanism that has nothing to learn does nothing.
  virtual void fit(const Values& value, Parents parents, const FitOptions& options) = 0;
  // Everything is known that predict() needs.
  virtual bool is_fitted() const = 0;
  virtual MechanismState state() const = 0;
  // Strict: throws Error naming what is missing, extra or of another shape.
  virtual void load(const MechanismState& state) = 0;

  // In a few words, for answers and reports: "table, counterfactuals by Gumbel-max".
  virtual std::string description() const = 0;

  // Where it computes from now on, for mechanisms that are worth it.
  virtual void move_to(Target, Dtype) {}
  // Parameters that may change after the fit; those not given are as they were fitted. Throws Error
  // naming one that may not.
  virtual void configure(const nlohmann::json& parameters);
  // Shows what stands on the way from the value to the noise and back, for mechanisms that walk:
  // the level of each step, 0 the value's. An empty function ends it.
  using Watch = std::function<void(bool predicting, int level, const Tensor& images)>;
  virtual void watch(Watch) {}
  // What a person should know before believing predict() under these parents.
  virtual std::vector<std::string> warnings(Parents) const { return {}; }
};

// One kind of mechanism: one file in causal/mechanisms/, one line in its registry.cpp.
struct MechanismKind {
  const char* name;
  const char* help;
  // Throws Error naming the parameter, or the kind of node or parent, that it cannot use.
  std::unique_ptr<Mechanism> (*make)(const Role& role);
};
std::span<const MechanismKind> mechanism_kinds();

// As Node::mechanism says. Throws Error naming line, node and what is wrong; a name that is unknown
// with those there are.
std::unique_ptr<Mechanism> make_mechanism(const Role& role);

// One mechanism in one safetensors file, with the node it is for. Reading throws Error unless the
// file's node has the same name, kind, states, parents and mechanism.
void write_mechanism(const std::filesystem::path& path, const Role& role,
                     const Mechanism& mechanism);
std::unique_ptr<Mechanism> read_mechanism(const std::filesystem::path& path, const Role& role);

}  // namespace diffscm::causal
