#include "kernels/softgpu/ptx/places.h"

#include <algorithm>

#include "kernels/error.h"

namespace diffscm::softgpu::ptx {
namespace {

// Every ret becomes a branch to one return at the end.
void join_returns(Function& f) {
  const std::string end = fmt::format("return of {}", f.name);
  for (Statement& s : f.statements) {
    if (s.opcode != "ret" && s.opcode != "ret.uni") continue;
    s.opcode = "bra";
    Operand label;
    label.kind = Operand::Kind::symbol;
    label.name = end;
    s.operands = {label};
  }
  f.labels.push_back({end, static_cast<uint32_t>(f.statements.size())});
  Statement last = f.statements.back();
  last.opcode = "return.function";
  last.guard = -1;
  last.operands.clear();
  f.statements.push_back(last);
}

bool is_call(const Statement& s) {
  return s.opcode.starts_with("call");
}

// Whether an operand of the function names the module's variable.
bool mentions(const Function& f, const Variable& v) {
  const auto is_it = [&](const Operand& o) {
    return o.kind == Operand::Kind::symbol && o.variable < 0 && o.name == v.name;
  };
  return std::any_of(f.statements.begin(), f.statements.end(), [&](const Statement& s) {
    return std::any_of(s.operands.begin(), s.operands.end(), [&](const Operand& o) {
      return is_it(o) || std::any_of(o.parts.begin(), o.parts.end(), is_it);
    });
  });
}

}  // namespace

std::vector<uint32_t> param_offsets(const Function& kernel, uint32_t* bytes) {
  std::vector<uint32_t> offsets;
  *bytes = 0;
  for (uint32_t p = 0; p < kernel.params; ++p) {
    const Variable& v = kernel.variables[p];
    *bytes = aligned(*bytes, v.align);
    offsets.push_back(*bytes);
    *bytes += v.bytes;
  }
  return offsets;
}

std::string callee_name(const Statement& call) {
  for (const Operand& o : call.operands)
    if (o.kind == Operand::Kind::symbol) return o.name;
  return {};
}

void fail_at(const Statement& s, const std::string& kernel, const std::string& what) {
  fail("PTX line {}: {} (in {})", s.line, what, kernel);
}

Places::Places(const Tree& tree, const Function& kernel, std::string name,
               const AddressOf& address_of)
    : tree_(tree), name_(std::move(name)), address_of_(address_of) {
  collect(kernel, {});
  place_locals();
  place_shared();
  for (const Function& f : functions)
    for (const Statement& s : f.statements)
      if (is_call(s)) pass(f, s);
}

void Places::collect(const Function& f, std::set<std::string> callers) {
  require(callers.insert(f.name).second, "{} calls itself: a stack is not supported", f.name);
  require(callers.size() <= 8, "{}: calls more than 8 deep", name_);
  const auto named = [](const std::string& name) {
    return [name](const Function& g) { return g.name == name; };
  };
  if (std::any_of(functions.begin(), functions.end(), named(f.name))) return;
  functions.push_back(f);
  if (!f.entry) join_returns(functions.back());
  for (const Statement& s : f.statements) {
    if (!is_call(s)) continue;
    const std::string callee = callee_name(s);
    const auto found = std::find_if(tree_.functions.begin(), tree_.functions.end(), named(callee));
    if (found == tree_.functions.end()) fail_at(s, name_, fmt::format("no function '{}'", callee));
    collect(*found, callers);
  }
}

void Places::place_locals() {
  uint32_t local = 0;
  for (const Function& f : functions) {
    const uint32_t passed = f.returned + f.params;
    if (f.entry) {
      uint32_t bytes = 0;
      const std::vector<uint32_t> offsets = param_offsets(f, &bytes);
      for (uint32_t v = 0; v < passed; ++v) places_[{&f, v}] = offsets[v];
    }
    for (uint32_t v = f.entry ? passed : 0; v < f.variables.size(); ++v) {
      if (v >= passed && f.variables[v].space != Space::local) continue;
      local = aligned(local, f.variables[v].align);
      places_[{&f, v}] = local;
      local += f.variables[v].bytes;
    }
  }
  local_bytes = aligned(local, 16);
}

void Places::place_shared(const Variable& v, uint32_t* place) {
  *place = aligned(static_shared_bytes, v.align);
  static_shared_bytes = *place + v.bytes;
}

void Places::place_shared() {
  for (const Function& f : functions) {
    for (uint32_t v = 0; v < f.variables.size(); ++v)
      if (f.variables[v].space == Space::shared) place_shared(f.variables[v], &places_[{&f, v}]);
    for (const Variable& v : tree_.variables)
      if (v.space == Space::shared && !v.external && !shared_places_.contains(v.name) &&
          mentions(f, v))
        place_shared(v, &shared_places_[v.name]);
  }
  // Dynamic shared memory begins after the static one.
  uint32_t align = 16;
  for (const Variable& v : tree_.variables)
    if (v.external && v.space == Space::shared) align = std::max(align, v.align);
  static_shared_bytes = aligned(static_shared_bytes, align);
  for (const Variable& v : tree_.variables)
    if (v.external && v.space == Space::shared) shared_places_[v.name] = static_shared_bytes;
}

void Places::pass(const Function& f, const Statement& s) {
  const auto at = std::find_if(s.operands.begin(), s.operands.end(),
                               [](const Operand& o) { return o.kind == Operand::Kind::symbol; });
  const Function& callee = *std::find_if(functions.begin(), functions.end(),
                                         [&](const Function& g) { return g.name == at->name; });
  size_t formal = 0;
  const auto match = [&](const std::vector<Operand>& actual, size_t count) {
    if (actual.size() != count)
      fail_at(s, name_, fmt::format("{} with {} instead of {}", callee.name, actual.size(), count));
    for (const Operand& o : actual) {
      if (o.variable < 0) fail_at(s, name_, "an argument that is no .param variable");
      places_[{&f, static_cast<size_t>(o.variable)}] = places_.at({&callee, formal++});
    }
  };
  const std::vector<Operand> none;
  match(at != s.operands.begin() ? std::prev(at)->parts : none, callee.returned);
  match(std::next(at) != s.operands.end() ? std::next(at)->parts : none, callee.params);
}

uint64_t Places::address(const Function& f, const Statement& s, const Operand& o) const {
  const auto offset = static_cast<uint64_t>(o.offset);
  if (o.variable >= 0) {
    const auto found = places_.find({&f, static_cast<size_t>(o.variable)});
    if (found == places_.end())
      fail_at(s, name_, fmt::format("'{}' is passed to no function", o.name));
    return found->second + offset;
  }
  if (const auto found = shared_places_.find(o.name); found != shared_places_.end())
    return found->second + offset;
  const std::byte* data = address_of_(o.name);
  if (data == nullptr) fail_at(s, name_, fmt::format("no variable '{}'", o.name));
  return reinterpret_cast<uint64_t>(data) + offset;
}

}  // namespace diffscm::softgpu::ptx
