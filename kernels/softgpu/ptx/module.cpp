#include "kernels/softgpu/ptx/module.h"

#include <algorithm>

#include "kernels/softgpu/ptx/decode.h"

namespace diffscm::softgpu {

Module::Module(std::string_view text) : tree_(std::make_unique<const ptx::Tree>(ptx::parse(text))) {
  for (const ptx::Variable& v : tree_->variables) {
    if (v.space != ptx::Space::global && v.space != ptx::Space::constant) continue;
    storage_.push_back(std::make_unique<Line64[]>(v.bytes / sizeof(Line64) + 1));
    auto* data = reinterpret_cast<std::byte*>(storage_.back().get());
    std::copy(v.data.begin(), v.data.end(), data);
    variables_.push_back({v.name, data, v.bytes, v.space == ptx::Space::constant});
  }
  files_ = std::make_shared<const std::vector<std::string>>(tree_->files);
}

Module::~Module() = default;

const Entry* Module::entry(std::string_view name) {
  if (const auto known = entries_.find(name); known != entries_.end()) return &known->second;
  const auto f = std::find_if(tree_->functions.begin(), tree_->functions.end(),
                              [&](const ptx::Function& g) { return g.entry && g.name == name; });
  if (f == tree_->functions.end()) return nullptr;
  const auto program = ptx::decode(*tree_, *f, [this](const std::string& variable_name) {
    const Variable* v = variable(variable_name);
    return v != nullptr ? v->data : nullptr;
  });
  program->files = files_;
  Entry entry;
  entry.name = f->name;
  const std::vector<uint32_t> offsets = ptx::param_offsets(*f, &entry.param_bytes);
  for (uint32_t p = 0; p < f->params; ++p)
    entry.params.push_back({offsets[p], f->variables[p].bytes});
  entry.static_shared_bytes = program->static_shared_bytes;
  entry.max_threads = f->max_threads;
  entry.program = program;
  return &entries_.emplace(f->name, std::move(entry)).first->second;
}

const Variable* Module::variable(std::string_view name) const {
  const auto found = std::find_if(variables_.begin(), variables_.end(),
                                  [&](const Variable& v) { return v.name == name; });
  return found == variables_.end() ? nullptr : &*found;
}

}  // namespace diffscm::softgpu
