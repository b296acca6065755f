#include "kernels/softgpu/ptx/decode.h"

#include <cxxabi.h>

#include <cstdlib>
#include <cstring>
#include <map>

#include "kernels/error.h"
#include "kernels/softgpu/ptx/allocate.h"
#include "kernels/softgpu/ptx/constants.h"
#include "kernels/softgpu/ptx/flow.h"
#include "kernels/softgpu/ptx/operands.h"

namespace diffscm::softgpu {

void converge(Warp&, const Instruction&);  // forms_control.cpp

namespace ptx {
namespace {

std::string demangled(const std::string& name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  const std::string result = status == 0 ? text : name;
  std::free(text);
  return result;
}

class Decoder {
 public:
  Decoder(const Tree& tree, const Function& kernel, const AddressOf& address_of)
      : name_(demangled(kernel.name)), places_(tree, kernel, name_, address_of) {}

  std::shared_ptr<Program> decode() {
    program_->name = name_;
    program_->static_shared_bytes = places_.static_shared_bytes;
    program_->local_bytes = places_.local_bytes;
    // After the special registers, one more that takes what nobody wants.
    sink_ = static_cast<Slot>(128 * kSpecials);
    program_->register_bytes = static_cast<uint32_t>(sink_) + 256;
    for (Function& f : places_.functions) emit(f);
    for (const auto& [instruction, function] : calls_)
      program_->code[instruction].target = starts_.at(function);
    program_->constants = constants_.lines();
    return program_;
  }

 private:
  [[noreturn]] void fail_at(const Statement& s, const std::string& what) const {
    ptx::fail_at(s, name_, what);
  }

  ChosenForm form_of(const Function& f, Statement& s) const {
    // A function's parameters, and what is passed to one, are local memory.
    if (s.opcode.starts_with("ld.param") || s.opcode.starts_with("st.param")) {
      const size_t at = s.opcode[0] == 'l' ? 1 : 0;
      const bool symbol = at < s.operands.size() && !s.operands[at].parts.empty();
      const int v = symbol ? s.operands[at].parts[0].variable : -1;
      if (!f.entry || v >= static_cast<int>(f.params)) s.opcode.replace(2, 6, ".local");
    }
    bool known = false;
    ChosenForm chosen = choose_form(f, s, &known);
    if (chosen.form == nullptr)
      fail_at(s, fmt::format("the instruction '{}' is not known{}", s.opcode,
                             known ? " with these operands" : ""));
    return chosen;
  }

  void emit(Function& f) {
    const Flow flow = flow_of(f);
    std::vector<ChosenForm> chosen;
    std::vector<Access> accesses;
    for (Statement& s : f.statements) {
      chosen.push_back(form_of(f, s));
      accesses.push_back(access_of(s, chosen.back().items));
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
      Instruction i = instruction(f, statement, chosen[s]);
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
        return constants_.add(bytes, places_.address(f, s, o));
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

  Instruction instruction(const Function& f, const Statement& s, const ChosenForm& chosen) {
    Instruction i;
    i.run = chosen.form->run;
    i.kind = chosen.form->kind;
    i.extra = static_cast<uint32_t>(program_->slots.size());
    if (s.guard >= 0) {
      i.guarded = true;
      i.guard_negated = s.guard_negated;
      i.guard = slot_[static_cast<size_t>(s.guard)];
    }
    size_t operands = 0, addresses = 0;
    for (size_t k = 0; k < chosen.items.size(); ++k) {
      const Item& item = chosen.items[k];
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

  std::string name_;
  Places places_;
  std::shared_ptr<Program> program_ = std::make_shared<Program>();
  std::map<std::string, uint32_t> starts_;  // the first instruction of each function
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

}  // namespace ptx
}  // namespace diffscm::softgpu
