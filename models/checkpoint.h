// Models in files: safetensors whose tensors carry guided-diffusion's names and PyTorch's layouts,
// and whose metadata carry everything needed to rebuild and trace the model.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "engine/io/stored_floats.h"
#include "models/layers.h"

namespace diffscm {

// What a model file says about itself, beside its tensors. `diffusion`: schedule, timesteps,
// sampling_steps. `data`: name, height, width, channels, classes. `training`: seed, steps, samples
// seen, losses, command, version: free-form, for people.
struct ModelInfo {
  std::string kind;
  nlohmann::json config, diffusion, data, training;
  std::string path, sha256;
  int64_t parameters = 0;  // scalars in all tensors
};

using NamedTensors = std::map<std::string, Tensor>;

template <class Model>
std::vector<std::pair<std::string, Parameter*>> named_parameters(Model& model) {
  std::vector<std::pair<std::string, Parameter*>> all;
  model.visit([&](const std::string& name, Parameter& p) { all.emplace_back(name, &p); });
  return all;
}

template <class Model>
int64_t parameter_count(Model& model) {
  int64_t count = 0;
  for (const auto& [name, p] : named_parameters(model)) count += p->variable.value().numel();
  return count;
}

template <class Model>
std::vector<Variable*> variables(Model& model) {
  std::vector<Variable*> all;
  for (const auto& [name, p] : named_parameters(model)) all.push_back(&p->variable);
  return all;
}

// Between the engine's layout and the file's (models/layers.h, FileLayout).
Tensor to_file_layout(const Tensor& value, FileLayout layout);
Shape file_shape(const Shape& shape, FileLayout layout);
// Throws Error naming `name` and both shapes when the file's tensor does not fit.
void copy_from_file_layout(const std::string& name, const Tensor& source, Parameter& parameter);

template <class Model>
NamedTensors state_dict(Model& model) {
  NamedTensors state;
  for (const auto& [name, p] : named_parameters(model))
    state.emplace(name, to_file_layout(p->variable.value(), p->layout));
  return state;
}

// How `tensors` differ from what the network's parameters need: one line each of the missing, then
// those of another shape or dtype, then those left over.
std::vector<std::string> differences(
    const std::vector<std::pair<std::string, Parameter*>>& parameters, const NamedTensors& tensors);

// Strict: throws Error with the number of differences and the first three, if there are any.
void load_state(const std::vector<std::pair<std::string, Parameter*>>& parameters,
                const NamedTensors& state);

// Atomic.
void write_model(const std::filesystem::path& path, const ModelInfo& info,
                 const NamedTensors& state, io::StoredFloats floats = io::StoredFloats::f32);
// `path` is a model file or a run's folder (its model.safetensors). Throws Error when the file is
// not a diffscm model.
std::pair<ModelInfo, NamedTensors> read_model(const std::filesystem::path& path);
// What the file says about itself, without its tensors, sha256 and number of parameters.
ModelInfo read_model_info(const std::filesystem::path& path);

// Refuses a configuration that needs more parameters than this file holds, before any memory is
// asked for: a hostile configuration must not exhaust the machine. `least`: a lower bound of its
// parameters.
void check_plausible(const ModelInfo& info, int64_t least);

template <class Model>
struct LoadedModel {
  Model model;
  ModelInfo info;
};

// Of a model that can say its shapes alone nothing is drawn and no memory taken before it is
// filled.
template <class Model>
Model unfilled(const typename Model::Config& config) {
  if constexpr (std::is_constructible_v<Model, const typename Model::Config&, ShapesOnly>)
    return Model(config, ShapesOnly{});
  else
    return Model(config, 0);
}

// The model that a file describes, filled; for inference (no parameter wants a gradient). `layers`:
// what it computes in, f32 or bf16.
template <class Model>
LoadedModel<Model> build_model(ModelInfo info, const NamedTensors& state, Target target,
                               Dtype layers = Dtype::f32) {
  require(info.kind == Model::kKind, "{}: kind is {}, expected {}", info.path, info.kind,
          Model::kKind);
  const auto config = [&info] {
    try {
      return info.config.get<typename Model::Config>();
    } catch (const Error& e) {
      fail("{}: {}", info.path, e.what());
    }
  }();
  check_plausible(info, least_parameters(config));
  LoadedModel<Model> loaded{unfilled<Model>(config), std::move(info)};
  const auto parameters = named_parameters(loaded.model);
  try {
    load_state(parameters, state);
  } catch (const Error& e) {
    fail("{}: {}", loaded.info.path, e.what());
  }
  for (const auto& [name, p] : parameters) p->variable = Variable(p->variable.value().to(target));
  if constexpr (requires { loaded.model.set_precision(layers); })
    loaded.model.set_precision(layers);
  else
    require(layers == Dtype::f32, "a {} computes in f32 only", Model::kKind);
  return loaded;
}
template <class Model>
LoadedModel<Model> load_model(const std::filesystem::path& path, Target target,
                              Dtype layers = Dtype::f32) {
  auto [info, state] = read_model(path);
  return build_model<Model>(std::move(info), state, target, layers);
}

}  // namespace diffscm
