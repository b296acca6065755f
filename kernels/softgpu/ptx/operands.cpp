#include "kernels/softgpu/ptx/operands.h"

#include <algorithm>
#include <sstream>

namespace diffscm::softgpu::ptx {
namespace {

std::vector<Item> items_of(const Form& form) {
  std::vector<Item> items;
  std::istringstream words(form.operands);
  bool result = form.operands.find('=') != std::string::npos;
  for (std::string word; words >> word;) {
    if (word == "=") {
      result = false;
      continue;
    }
    const bool updated = word[0] == '+';
    if (updated) word.erase(0, 1);
    Item item{.kind = word[0]};
    item.result = result;
    item.read = !result || updated;
    if (word[0] == 'v') {
      const size_t x = word.find('x');
      item.vector = true;
      item.count = static_cast<uint32_t>(std::stoul(word.substr(1, x - 1)));
      item.kind = word[x + 1];
    } else if (word[0] == '#' && word.size() > 1) {
      item.any_number = false;
      item.number = std::stoull(word.substr(1));
    }
    items.push_back(item);
  }
  return items;
}

bool fits(const Function& f, const Item& item, const Operand& o) {
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
  const uint32_t bytes = item.kind == 'p' ? 0 : static_cast<uint32_t>(item.kind - '0');
  if (o.kind == Kind::register_)
    return f.registers[o.register_index].bytes == bytes &&
           !(o.negated && (item.result || item.kind != 'p'));
  if (item.result) return o.kind == Kind::sink;
  if (o.kind == Kind::number) return o.number != Operand::Number::f64 || item.kind == '8';
  if (o.kind == Kind::special) return item.kind == '4';
  return o.kind == Kind::symbol && (item.kind == '4' || item.kind == '8');
}

void add_registers(const Operand& o, std::vector<uint32_t>& to) {
  if (o.kind == Operand::Kind::register_) to.push_back(o.register_index);
  for (const Operand& part : o.parts) add_registers(part, to);
}

}  // namespace

ChosenForm choose_form(const Function& f, const Statement& s, bool* known) {
  const auto [begin, end] = forms().find(s.opcode);
  *known = begin != end;
  for (auto form = begin; form != end; ++form) {
    ChosenForm chosen{&form->second, items_of(form->second)};
    const std::vector<Item>& items = chosen.items;
    if (items.size() == 1 && items[0].kind == 'c') return chosen;
    bool all = items.size() == s.operands.size();
    for (size_t k = 0; all && k < items.size(); ++k) all = fits(f, items[k], s.operands[k]);
    if (all) return chosen;
  }
  return {};
}

Access access_of(const Statement& s, const std::vector<Item>& items) {
  Access access;
  if (s.guard >= 0) access.reads.push_back(static_cast<uint32_t>(s.guard));
  for (size_t k = 0; k < s.operands.size() && k < items.size(); ++k) {
    if (items[k].read) add_registers(s.operands[k], access.reads);
    if (items[k].result) add_registers(s.operands[k], access.writes);
  }
  return access;
}

}  // namespace diffscm::softgpu::ptx
