#include "kernels/softgpu/ptx/decode.h"

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <list>
#include <map>
#include <set>
#include <sstream>

#include "kernels/error.h"
#include "kernels/softgpu/ptx/allocate.h"
#include "kernels/softgpu/ptx/flow.h"
#include "kernels/softgpu/ptx/forms.h"

namespace diffscm::softgpu {

void converge(Warp&, const Instruction&);  // forms_control.cpp

namespace ptx {
namespace {

uint32_t aligned(uint32_t offset, uint32_t align) {
  return (offset + align - 1) / align * align;
}

std::string demangled(const std::string& name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  const std::string result = status == 0 ? text : name;
  std::free(text);
  return result;
}

// Values that every lane has alike. They are counted from the end of their array, backwards.
class Constants {
 public:
  Slot add(uint32_t bytes, uint64_t value) {
    const auto [found, is_new] = slots_.try_emplace({bytes, value}, 0);
    if (!is_new) return found->second;
    size_ += bytes * 32;
    values_.push_back({bytes, value});
    return found->second = -static_cast<Slot>(size_);
  }
  std::vector<Line64> lines() const {
    std::vector<Line64> lines(size_ / sizeof(Line64));
    auto* end = reinterpret_cast<std::byte*>(lines.data()) + size_;
    for (const auto& [bytes, value] : values_) {
      end -= bytes * 32;
      for (uint32_t lane = 0; lane < 32; ++lane) std::memcpy(end + lane * bytes, &value, bytes);
    }
    return lines;
  }

 private:
  using Value = std::pair<uint32_t, uint64_t>;
  std::map<Value, Slot> slots_;
  std::vector<Value> values_;
  uint32_t size_ = 0;
};

// One item of Form::operands.
struct Item {
  char kind = 0;       // 2 4 8 p a s # l(abel) c(all)
  uint32_t count = 1;  // of a vector
  bool vector = false, result = false;
  uint64_t number = 0;  // #16: this number and no other
  bool any_number = true;
};

std::vector<Item> items_of(const Form& form) {
  std::vector<Item> items;
  std::istringstream words(form.operands);
  bool result = form.operands.find('=') != std::string::npos;
  for (std::string word; words >> word;) {
    if (word == "=") {
      result = false;
      continue;
    }
    Item item{.kind = word[0]};
    item.result = result;
    if (word[0] == 'v') {
      item.vector = true;
      item.count = static_cast<uint32_t>(word[1] - '0');
      item.kind = word[3];
    } else if (word[0] == '#' && word.size() > 1) {
      item.any_number = false;
      item.number = std::stoull(word.substr(1));
    }
    items.push_back(item);
  }
  return items;
}

class Decoder {
 public:
  Decoder(const Tree& tree, const Function& kernel, const AddressOf& address_of)
      : tree_(tree), kernel_(kernel), address_of_(address_of) {}

  std::shared_ptr<Program> decode() {
    program_->name = demangled(kernel_.name);
    collect(kernel_, {});
    place_variables();
    // After the special registers, one more that takes what nobody wants.
    sink_ = static_cast<Slot>(128 * kSpecials);
    program_->register_bytes = static_cast<uint32_t>(sink_) + 256;
    for (Function& f : functions_) emit(f);
    for (const auto& [instruction, function] : calls_)
      program_->code[instruction].target = starts_.at(function);
    program_->constants = constants_.lines();
    return program_;
  }

 private:
  [[noreturn]] void fail_at(const Statement& s, const std::string& what) const {
    fail("PTX line {}: {} (in {})", s.line, what, program_->name);
  }

  const Function* function(const std::string& name) const {
    const auto found = std::find_if(tree_.functions.begin(), tree_.functions.end(),
                                    [&](const Function& f) { return f.name == name; });
    return found == tree_.functions.end() ? nullptr : &*found;
  }

  // The kernel and all that it calls, each once, with one way out each.
  void collect(const Function& f, std::set<std::string> callers) {
    require(callers.insert(f.name).second, "{} calls itself: a stack is not supported", f.name);
    require(callers.size() <= 8, "{}: calls more than 8 deep", program_->name);
    if (std::any_of(functions_.begin(), functions_.end(),
                    [&](const Function& other) { return other.name == f.name; }))
      return;
    functions_.push_back(f);
    if (!f.entry) join_returns(functions_.back());
    for (const Statement& s : f.statements) {
      if (!s.opcode.starts_with("call")) continue;
      const Function* callee = function(callee_name(s));
      if (!callee) fail_at(s, fmt::format("no function '{}'", callee_name(s)));
      collect(*callee, callers);
    }
  }

  // Every ret becomes a branch to one return at the end, where diverged lanes meet before they go
  // back to the caller together.
  static void join_returns(Function& f) {
    const std::string end = "return of " + f.name;
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

  static std::string callee_name(const Statement& s) {
    for (const Operand& o : s.operands)
      if (o.kind == Operand::Kind::symbol) return o.name;
    return {};
  }

  // --- addresses of variables
  // A kernel's parameters lie in the launch's block. What is passed to a function lies in local
  // memory: the caller's argument and the function's parameter are one and the same place.
  void place_variables() {
    uint32_t local = 0;
    const auto in_local = [&](const Function& f, size_t v) {
      const Variable& variable = f.variables[v];
      local = aligned(local, variable.align);
      places_[{&f, v}] = local;
      local += variable.bytes;
    };
    for (const Function& f : functions_) {
      const uint32_t passed = f.returned + f.params;
      if (f.entry) {
        const auto offsets = param_offsets(f, &program_->param_bytes);
        for (uint32_t v = 0; v < passed; ++v) places_[{&f, v}] = offsets[v];
      }
      for (uint32_t v = f.entry ? passed : 0; v < f.variables.size(); ++v) {
        if (v < passed || f.variables[v].space == Space::local) in_local(f, v);
        if (f.variables[v].space == Space::shared) place_shared(f.variables[v], &places_[{&f, v}]);
      }
    }
    program_->local_bytes = aligned(local, 16);
    for (const Function& f : functions_) {
      for (const Statement& s : f.statements)
        if (s.opcode.starts_with("call")) pass(f, s);
      for_symbols(f, [&](const Operand& o) {
        for (const Variable& v : tree_.variables)
          if (o.variable < 0 && v.name == o.name && v.space == Space::shared && !v.external &&
              !shared_places_.contains(v.name))
            place_shared(v, &shared_places_[v.name]);
      });
    }
    // Dynamic shared memory begins after the static one.
    uint32_t align = 16;
    for (const Variable& v : tree_.variables)
      if (v.external && v.space == Space::shared) align = std::max(align, v.align);
    if (program_->static_shared_bytes > 0)
      program_->static_shared_bytes = aligned(program_->static_shared_bytes, align);
    for (const Variable& v : tree_.variables)
      if (v.external && v.space == Space::shared)
        shared_places_[v.name] = program_->static_shared_bytes;
  }
  void place_shared(const Variable& v, uint32_t* place) {
    *place = aligned(program_->static_shared_bytes, v.align);
    program_->static_shared_bytes = *place + v.bytes;
  }
  template <class F>
  static void for_symbols(const Function& f, F visit) {
    for (const Statement& s : f.statements)
      for (const Operand& o : s.operands) {
        if (o.kind == Operand::Kind::symbol) visit(o);
        for (const Operand& part : o.parts)
          if (part.kind == Operand::Kind::symbol) visit(part);
      }
  }

  void pass(const Function& f, const Statement& s) {
    const auto named = [](const Operand& o) { return o.kind == Operand::Kind::symbol; };
    const auto at = std::find_if(s.operands.begin(), s.operands.end(), named);
    const Function& callee = *std::find_if(functions_.begin(), functions_.end(),
                                           [&](const Function& g) { return g.name == at->name; });
    size_t formal = 0;
    const auto match = [&](const std::vector<Operand>& actual, size_t count) {
      if (actual.size() != count)
        fail_at(s, fmt::format("{} with {} instead of {}", callee.name, actual.size(), count));
      for (const Operand& o : actual) {
        if (o.variable < 0) fail_at(s, "an argument that is no .param variable");
        places_[{&f, static_cast<size_t>(o.variable)}] = places_.at({&callee, formal++});
      }
    };
    match(at != s.operands.begin() ? std::prev(at)->parts : std::vector<Operand>{},
          callee.returned);
    match(std::next(at) != s.operands.end() ? std::next(at)->parts : std::vector<Operand>{},
          callee.params);
  }

  uint64_t address(const Function& f, const Statement& s, const Operand& o) const {
    if (o.variable >= 0) {
      const auto found = places_.find({&f, static_cast<size_t>(o.variable)});
      if (found == places_.end()) fail_at(s, fmt::format("'{}' is passed to no function", o.name));
      return found->second + static_cast<uint64_t>(o.offset);
    }
    if (const auto found = shared_places_.find(o.name); found != shared_places_.end())
      return found->second + static_cast<uint64_t>(o.offset);
    const std::byte* data = address_of_(o.name);
    if (!data) fail_at(s, fmt::format("no variable '{}'", o.name));
    return reinterpret_cast<uint64_t>(data) + static_cast<uint64_t>(o.offset);
  }

  // --- instructions
  static uint32_t bytes_of(char kind) {
    return kind == 'p' ? 0 : static_cast<uint32_t>(kind - '0');
  }

  bool fits(const Function& f, const Item& item, const Operand& o) const {
    using Kind = Operand::Kind;
    switch (item.kind) {
      case '#':
        return o.kind == Kind::number && (item.any_number || o.bits == item.number);
      case 'l':
        return o.kind == Kind::symbol;
      case 'c':
        return true;
      case 'a':
      case 's': {
        if (o.kind != Kind::address) return false;
        const Operand& base = o.parts[0];
        if (base.kind == Kind::register_)
          return f.registers[base.register_index].bytes == (item.kind == 's' ? 4 : 8);
        return base.kind == Kind::symbol || base.kind == Kind::number;
      }
      default:
        break;
    }
    if (item.vector) {
      if (o.kind != Kind::vector || o.parts.size() != item.count) return false;
      Item one = item;
      one.vector = false;
      return std::all_of(o.parts.begin(), o.parts.end(),
                         [&](const Operand& part) { return fits(f, one, part); });
    }
    if (o.kind == Kind::register_)
      return f.registers[o.register_index].bytes == bytes_of(item.kind) &&
             !(o.negated && (item.result || item.kind != 'p'));
    if (item.result) return o.kind == Kind::sink;
    if (o.kind == Kind::number) return o.number != Operand::Number::f64 || item.kind == '8';
    if (o.kind == Kind::special) return item.kind == '4';
    return o.kind == Kind::symbol && (item.kind == '4' || item.kind == '8');
  }

  // The form whose operands are those of the statement.
  const Form& form_of(const Function& f, Statement& s) const {
    // A function's parameters, and what is passed to one, are local memory.
    if (s.opcode.starts_with("ld.param") || s.opcode.starts_with("st.param")) {
      const Operand& a = s.operands[s.opcode[0] == 'l' ? 1 : 0];
      const int v = a.parts.empty() ? -1 : a.parts[0].variable;
      if (!f.entry || v >= static_cast<int>(f.params)) s.opcode.replace(2, 6, ".local");
    }
    const auto [begin, end] = forms().find(s.opcode);
    if (begin == end) fail_at(s, fmt::format("the instruction '{}' is not known", s.opcode));
    for (auto form = begin; form != end; ++form) {
      const std::vector<Item> items = items_of(form->second);
      if (items.size() == 1 && items[0].kind == 'c') return form->second;
      bool all = items.size() == s.operands.size();
      for (size_t k = 0; all && k < items.size(); ++k) all = fits(f, items[k], s.operands[k]);
      if (all) return form->second;
    }
    fail_at(s, fmt::format("'{}' is not known with these operands", s.opcode));
  }

  static void add_registers(const Operand& o, std::vector<uint32_t>& to) {
    if (o.kind == Operand::Kind::register_) to.push_back(o.register_index);
    for (const Operand& part : o.parts) add_registers(part, to);
  }

  static Access access_of(const Statement& s, const std::vector<Item>& items) {
    Access access;
    if (s.guard >= 0) access.reads.push_back(static_cast<uint32_t>(s.guard));
    for (size_t k = 0; k < s.operands.size() && k < items.size(); ++k)
      add_registers(s.operands[k], items[k].result ? access.writes : access.reads);
    return access;
  }

  void emit(Function& f) {
    const Flow flow = flow_of(f);
    std::vector<const Form*> chosen;
    std::vector<std::vector<Item>> items;
    std::vector<Access> accesses;
    for (Statement& s : f.statements) {
      chosen.push_back(&form_of(f, s));
      items.push_back(items_of(*chosen.back()));
      accesses.push_back(access_of(s, items.back()));
    }
    place_registers(f, allocate_registers(f, flow, accesses));

    // A convergence instruction stands before each statement where paths meet.
    std::vector<bool> meets(f.statements.size(), false);
    for (const uint32_t c : flow.convergence)
      if (c != kNone) meets[c] = true;
    std::vector<uint32_t> place(f.statements.size());
    auto next = static_cast<uint32_t>(program_->code.size());
    starts_[f.name] = next;
    for (size_t s = 0; s < f.statements.size(); ++s) {
      place[s] = next;
      next += meets[s] ? 2 : 1;
    }
    for (size_t s = 0; s < f.statements.size(); ++s) {
      const Statement& statement = f.statements[s];
      if (meets[s]) {
        Instruction meet;
        meet.run = converge;
        meet.kind = InstructionClass::control;
        push(meet, statement, "converge");
      }
      Instruction i = instruction(f, statement, *chosen[s], items[s]);
      if (flow.target[s] != kNone) i.target = place[flow.target[s]];
      i.convergence = flow.convergence[s] == kNone ? kNowhere : place[flow.convergence[s]];
      push(i, statement, statement.opcode);
    }
  }

  void push(const Instruction& i, const Statement& s, const std::string& opcode) {
    program_->code.push_back(i);
    program_->origins.push_back({static_cast<uint32_t>(s.line), s.place, opcode});
  }

  void place_registers(const Function& f, const Allocation& a) {
    const uint32_t predicates = program_->register_bytes;
    const uint32_t words = aligned(predicates + 4 * a.predicates, 64);
    const uint32_t doubles = words + 128 * a.words;
    program_->register_bytes = doubles + 256 * a.doubles;
    slot_.resize(f.registers.size());
    for (size_t r = 0; r < f.registers.size(); ++r) {
      const uint32_t bytes = f.registers[r].bytes;
      slot_[r] = static_cast<Slot>(bytes == 0   ? predicates + 4 * a.place[r]
                                   : bytes == 8 ? doubles + 256 * a.place[r]
                                                : words + 128 * a.place[r]);
    }
  }

  Slot slot(const Function& f, const Statement& s, char kind, const Operand& o) {
    using Kind = Operand::Kind;
    const uint32_t bytes = kind == '8' ? 8 : 4;
    switch (o.kind) {
      case Kind::register_:
        if (o.negated) fail_at(s, "a negated predicate as an operand");
        return slot_[o.register_index];
      case Kind::sink:
        return sink_;
      case Kind::special:
        if (const auto known = special(o.name)) return program_->special_slot(*known);
        fail_at(s, fmt::format("the special register '{}' is not known", o.name));
      case Kind::symbol:
        return constants_.add(bytes, address(f, s, o));
      default:
        break;
    }
    if (kind == 'p') return constants_.add(4, o.bits ? 0xffffffffu : 0);
    const uint64_t mask = kind == '2' ? 0xffff : kind == '4' ? 0xffffffff : ~uint64_t{0};
    // A literal of single precision means the same number where a double is wanted.
    if (kind == '8' && o.number == Operand::Number::f32) {
      float f = 0;
      std::memcpy(&f, &o.bits, sizeof(f));
      const double d = f;
      uint64_t bits = 0;
      std::memcpy(&bits, &d, sizeof(d));
      return constants_.add(8, bits);
    }
    return constants_.add(bytes, o.bits & mask);
  }

  Instruction instruction(const Function& f, const Statement& s, const Form& form,
                          const std::vector<Item>& items) {
    Instruction i;
    i.run = form.run;
    i.kind = form.kind;
    i.bytes = form.bytes;
    i.extra = static_cast<uint32_t>(program_->slots.size());
    if (s.guard >= 0) {
      i.guarded = true;
      i.guard_negated = s.guard_negated;
      i.guard = slot_[static_cast<size_t>(s.guard)];
    }
    size_t operands = 0, addresses = 0;
    for (size_t k = 0; k < items.size(); ++k) {
      const Item& item = items[k];
      if (item.kind == 'c') {
        if (i.guarded) fail_at(s, "a call with a guard");
        calls_.emplace_back(program_->code.size(), callee_name(s));
        break;
      }
      const Operand& o = s.operands[k];
      if (item.kind == 'l') continue;
      if (item.kind == '#') {
        if (item.any_number) i.immediate = static_cast<int64_t>(o.bits);
      } else if (item.kind == 'a' || item.kind == 's') {
        // The second address of an instruction keeps its offset among the vectors.
        if (addresses++ == 0)
          i.immediate = o.offset;
        else
          program_->slots.push_back(static_cast<Slot>(o.offset));
        i.operand.at(operands++) = slot(f, s, item.kind == 's' ? '4' : '8', o.parts[0]);
      } else if (item.vector) {
        for (const Operand& part : o.parts) program_->slots.push_back(slot(f, s, item.kind, part));
      } else {
        i.operand.at(operands++) = slot(f, s, item.kind, o);
      }
    }
    return i;
  }

  const Tree& tree_;
  const Function& kernel_;
  const AddressOf& address_of_;
  std::shared_ptr<Program> program_ = std::make_shared<Program>();
  std::list<Function> functions_;  // the kernel first
  std::map<std::pair<const Function*, size_t>, uint32_t> places_;
  std::map<std::string, uint32_t> shared_places_, starts_;
  std::vector<std::pair<size_t, std::string>> calls_;
  Constants constants_;
  std::vector<Slot> slot_;  // of the registers of the function that is being emitted
  Slot sink_ = 0;
};

}  // namespace

std::shared_ptr<Program> decode(const Tree& tree, const Function& kernel,
                                const AddressOf& address_of) {
  return Decoder(tree, kernel, address_of).decode();
}

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

}  // namespace ptx
}  // namespace diffscm::softgpu
