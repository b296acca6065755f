#include "models/checkpoint.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <future>

#include "engine/io/file.h"
#include "engine/io/json.h"
#include "engine/io/safetensors.h"
#include "engine/parallel.h"
#include "models/finite.h"

namespace diffscm {
namespace {

constexpr const char* kFormat = "diffscm.model.v1";

// Copies src [A,B,C] into dst [A,C,B].
void swap_last_two(const float* src, int64_t a, int64_t b, int64_t c, float* dst) {
  in_parallel(a, [=](int64_t i) {
    for (int64_t j = 0; j < b; ++j)
      for (int64_t k = 0; k < c; ++k) dst[(i * c + k) * b + j] = src[(i * b + j) * c + k];
  });
}

// A large tensor of a file lies in memory only while it is looked at.
void looked_at(const Tensor& tensor) {
  if (tensor.is_borrowed() && tensor.dtype() == Dtype::f32)
    io::drop_pages(tensor.data(), static_cast<size_t>(tensor.numel()) * sizeof(float));
}

nlohmann::json parse_metadata(const std::map<std::string, std::string>& metadata,
                              const std::string& key, const std::string& path) {
  const auto found = metadata.find(key);
  require(found != metadata.end(), "{}: the metadata lack '{}'", path, key);
  nlohmann::json json = io::parse_json(found->second);
  require(!json.is_discarded() && json.is_object(), "{}: metadata '{}' is not a JSON object", path,
          key);
  return json;
}

}  // namespace

Shape file_shape(const Shape& s, FileLayout layout) {
  switch (layout) {
    case FileLayout::same:
      return s;
    case FileLayout::oihw:
      return {s[0], s[3], s[1], s[2]};
    case FileLayout::conv1d:
      return {s[0], s[1], 1};
    case FileLayout::conv1x1:
      return {s[0], s[1], 1, 1};
    case FileLayout::transposed:
      return {s[1], s[0]};
  }
  fail("unknown file layout {}", static_cast<int>(layout));
}

Tensor to_file_layout(const Tensor& value, FileLayout layout) {
  const Tensor host = value.to(Target::cpu);
  Tensor out(file_shape(value.shape(), layout));
  const Shape& s = value.shape();
  switch (layout) {
    case FileLayout::same:
    case FileLayout::conv1d:
    case FileLayout::conv1x1:
      out.copy_from(host.reshape(out.shape()));
      break;
    case FileLayout::oihw:
      swap_last_two(host.data(), s[0], s[1] * s[2], s[3], out.mutable_data());
      break;
    case FileLayout::transposed:
      swap_last_two(host.data(), 1, s[0], s[1], out.mutable_data());
      break;
  }
  return out;
}

void copy_from_file_layout(const std::string& name, const Tensor& given, Parameter& parameter) {
  const Tensor source = given.to(Target::cpu);
  Tensor& value = parameter.variable.mutable_value();
  const Shape& s = value.shape();
  const Shape expected = file_shape(s, parameter.layout);
  require(source.dtype() == Dtype::f32, "tensor '{}' holds {}, expected f32", name,
          name_of(source.dtype()));
  require(source.shape() == expected, "tensor '{}' has shape {}, this configuration needs {}", name,
          to_string(source.shape()), to_string(expected));
  Tensor host = value && value.target() == Target::cpu ? value : Tensor(s);
  switch (parameter.layout) {
    case FileLayout::same:
    case FileLayout::conv1d:
    case FileLayout::conv1x1:
      host.copy_from(source.reshape(s));
      break;
    case FileLayout::oihw:
      swap_last_two(source.data(), s[0], s[3], s[1] * s[2], host.mutable_data());
      break;
    case FileLayout::transposed:
      swap_last_two(source.data(), 1, s[1], s[0], host.mutable_data());
      break;
  }
  if (!value)
    value = host;
  else if (value.target() != Target::cpu)
    value.copy_from(host);
  looked_at(given);
}

std::vector<std::string> differences(
    const std::vector<std::pair<std::string, Parameter*>>& parameters,
    const NamedTensors& tensors) {
  std::vector<std::string> missing, misshapen, extra;
  NamedTensors rest = tensors;
  for (const auto& [name, parameter] : parameters) {
    const Shape expected = file_shape(parameter->variable.shape(), parameter->layout);
    const auto found = rest.find(name);
    if (found == rest.end()) {
      missing.push_back(fmt::format("{} is missing", io::show(name)));
      continue;
    }
    if (found->second.shape() != expected || found->second.dtype() != Dtype::f32)
      misshapen.push_back(fmt::format("{} is {} {}, not f32 {}", io::show(name),
                                      name_of(found->second.dtype()),
                                      to_string(found->second.shape()), to_string(expected)));
    rest.erase(found);
  }
  for (const auto& [name, tensor] : rest)
    extra.push_back(fmt::format("{} {} has no place", io::show(name), to_string(tensor.shape())));
  missing.insert(missing.end(), misshapen.begin(), misshapen.end());
  missing.insert(missing.end(), extra.begin(), extra.end());
  return missing;
}

void load_state(const std::vector<std::pair<std::string, Parameter*>>& parameters,
                const NamedTensors& state) {
  std::vector<std::string> found = differences(parameters, state);
  const size_t count = found.size();
  found.resize(std::min<size_t>(count, 3));
  require(count == 0,
          "its tensors are not those of the network that it describes ({} difference{}): {}", count,
          count == 1 ? "" : "s", fmt::join(found, "; "));
  for (const auto& [name, parameter] : parameters)
    copy_from_file_layout(name, state.at(name), *parameter);
}

void write_model(const std::filesystem::path& path, const ModelInfo& info,
                 const NamedTensors& state, io::StoredFloats floats) {
  io::Safetensors file;
  file.tensors = state;
  file.metadata = {{"format", kFormat},
                   {"kind", info.kind},
                   {"config", io::dump(info.config)},
                   {"diffusion", io::dump(info.diffusion)},
                   {"data", io::dump(info.data)},
                   {"training", io::dump(info.training)}};
  io::write_safetensors(path, file, floats);
}

namespace {

std::filesystem::path model_file(const std::filesystem::path& given) {
  const std::filesystem::path path =
      std::filesystem::is_directory(given) ? given / "model.safetensors" : given;
  require(std::filesystem::exists(path),
          "no model at {}: give a .safetensors file or a run's folder", io::show(path));
  return path;
}

ModelInfo info_from(const std::map<std::string, std::string>& metadata, const std::string& path) {
  ModelInfo info;
  info.path = path;
  const auto format = metadata.find("format");
  require(format != metadata.end() && format->second == kFormat,
          "{} is not a diffscm model: its metadata lack format = {}", path, kFormat);
  if (const auto kind = metadata.find("kind"); kind != metadata.end()) info.kind = kind->second;
  info.config = parse_metadata(metadata, "config", path);
  info.diffusion = parse_metadata(metadata, "diffusion", path);
  info.data = parse_metadata(metadata, "data", path);
  info.training = parse_metadata(metadata, "training", path);
  return info;
}

}  // namespace

ModelInfo read_model_info(const std::filesystem::path& given) {
  const std::filesystem::path path = model_file(given);
  return info_from(io::read_safetensors_metadata(path), path.string());
}

std::pair<ModelInfo, NamedTensors> read_model(const std::filesystem::path& given) {
  const std::filesystem::path path = model_file(given);
  io::Safetensors file = io::read_safetensors(path);
  ModelInfo info = info_from(file.metadata, path.string());
  // Beside the other pass over the file.
  std::future<std::string> sum =
      std::async(std::launch::async, [&path] { return io::sha256_of_file(path); });
  for (const auto& [name, tensor] : file.tensors) {
    info.parameters += tensor.numel();
    if (tensor.dtype() == Dtype::f32) require_finite(info.path, name, tensor);
    looked_at(tensor);
  }
  info.sha256 = sum.get();
  return {std::move(info), std::move(file.tensors)};
}

void check_plausible(const ModelInfo& info, int64_t least) {
  require(least <= info.parameters,
          "{}: the configuration asks for {} values or more, but the file holds {}: it is damaged",
          info.path, least, info.parameters);
}

}  // namespace diffscm
