#include "kernels/softgpu/ptx/module.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "kernels/softgpu/ptx/decode.h"

namespace diffscm::softgpu {
namespace {

const std::byte* address_of(const std::vector<Variable>& variables, const std::string& name) {
  for (const Variable& v : variables)
    if (v.name == name) return v.data;
  return nullptr;
}

}  // namespace

Module::Module(std::string_view text) {
  const ptx::Tree tree = ptx::parse(text);
  for (const ptx::Variable& v : tree.variables) {
    if (v.space != ptx::Space::global && v.space != ptx::Space::constant) continue;
    const size_t lines = v.bytes / sizeof(Line64) + 1;
    storage_.push_back(std::make_unique<Line64[]>(lines));
    auto* data = reinterpret_cast<std::byte*>(storage_.back().get());
    std::copy(v.data.begin(), v.data.end(), data);
    variables_.push_back({v.name, data, v.bytes, v.space == ptx::Space::constant});
  }
  const auto files = std::make_shared<const std::vector<std::string>>(tree.files);
  for (const ptx::Function& f : tree.functions) {
    if (!f.entry) continue;
    const auto program = ptx::decode(
        tree, f, [this](const std::string& name) { return address_of(variables_, name); });
    program->files = files;
    Entry entry;
    entry.name = f.name;
    const std::vector<uint32_t> offsets = ptx::param_offsets(f, &entry.param_bytes);
    for (uint32_t p = 0; p < f.params; ++p)
      entry.params.push_back({offsets[p], f.variables[p].bytes});
    entry.static_shared_bytes = program->static_shared_bytes;
    entry.max_threads = f.max_threads;
    entry.program = program;
    entries_.push_back(std::move(entry));
  }
}

Module::~Module() = default;

const Entry* Module::entry(std::string_view name) const {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& e) { return e.name == name; });
  return found == entries_.end() ? nullptr : &*found;
}

const Variable* Module::variable(std::string_view name) const {
  const auto found = std::find_if(variables_.begin(), variables_.end(),
                                  [&](const Variable& v) { return v.name == name; });
  return found == variables_.end() ? nullptr : &*found;
}

}  // namespace diffscm::softgpu
