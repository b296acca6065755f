#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <map>
#include <optional>

#include "kernels/error.h"
#include "kernels/softgpu/ptx/reader.h"
#include "kernels/softgpu/ptx/syntax.h"

namespace diffscm::softgpu::ptx {
namespace {

// What the names of one { } mean. Declarations like %r<12> are kept as they are written.
struct Scope {
  struct Range {
    uint32_t first = 0, count = 0;
  };
  std::map<std::string, Range, std::less<>> ranges;
  std::map<std::string, uint32_t, std::less<>> registers;
  std::map<std::string, int, std::less<>> variables;
};

class Parser : Reader {
 public:
  explicit Parser(std::string_view ptx) : Reader(ptx) {}

  Tree parse() {
    while (peek().kind != Token::Kind::end) declaration();
    return std::move(tree_);
  }

 private:
  // --- module scope
  void declaration() {
    const Token& token = peek();
    if (token.is(".version")) {
      next(), next();
    } else if (token.is(".target")) {
      next(), next();
      while (take(",")) next();
    } else if (token.is(".address_size")) {
      next();
      if (integer() != 64) unknown("addresses of other than 64 bits");
    } else if (token.is(".file")) {
      file();
    } else if (token.is(".section")) {
      while (!peek().is("{")) next();
      skip_braces();
    } else {
      linked_declaration();
    }
  }

  void file() {
    next();
    const auto number = static_cast<size_t>(integer());
    if (number > 100000) unknown("a file number without end");
    if (tree_.files.size() <= number) tree_.files.resize(number + 1);
    tree_.files[number] = std::string(next().text);
    while (take(",")) next();  // time stamp and size
  }

  void skip_braces() {
    int depth = 0;
    do {
      if (peek().kind == Token::Kind::end) unknown("a { without }");
      depth += peek().is("{");
      depth -= peek().is("}");
      next();
    } while (depth > 0);
  }

  // .visible .entry, .func, .extern .shared, .global ...
  void linked_declaration() {
    bool external = false;
    for (;; next()) {
      if (peek().is(".extern"))
        external = true;
      else if (!peek().is(".visible") && !peek().is(".weak"))
        break;
    }
    if (take(".entry")) return function(true);
    if (take(".func")) return function(false);
    const auto space = space_of(peek().text);
    if (!space) unknown(fmt::format("the directive '{}' is not known", peek().text));
    next();
    for (Variable& v : variables(*space, external)) tree_.variables.push_back(std::move(v));
    expect(";");
  }

  // .align 16 .b8 name[128] = {...}, name2, ...
  std::vector<Variable> variables(Space space, bool external) {
    std::vector<Variable> all;
    uint32_t align = 0;
    if (take(".align")) align = static_cast<uint32_t>(integer());
    if (take(".ptr")) {  // of a parameter: what it points to
      for (; space_of(peek().text) || peek().is(".align"); next())
        if (peek().is(".align")) next();
    }
    const auto element = type_bytes(peek().text);
    if (!element || *element == 0)
      unknown(fmt::format("'{}' is no type of a variable", peek().text));
    next();
    if (take(".ptr"))
      while (space_of(peek().text) || peek().is(".align"))
        if (next().is(".align")) next();
    do {
      Variable v;
      v.space = space;
      v.align = align ? align : *element;
      v.bytes = *element;
      v.external = external;
      if (!std::has_single_bit(v.align)) unknown(fmt::format("alignment {}", v.align));
      v.name = name();
      while (take("[")) {
        v.bytes *= peek().is("]") ? 0 : static_cast<uint32_t>(integer());
        expect("]");
      }
      if (take("=")) v.data = initialiser(*element);
      if (v.data.size() > v.bytes) unknown(fmt::format("more values than {} holds", v.name));
      all.push_back(std::move(v));
    } while (space != Space::param && take(","));
    return all;
  }

  std::vector<std::byte> initialiser(uint32_t element) {
    std::vector<std::byte> data;
    const bool list = take("{");
    do {
      const Operand value = number();
      data.resize(data.size() + element);
      std::memcpy(data.data() + data.size() - element, &value.bits, element);
    } while (list && take(","));
    if (list) expect("}");
    return data;
  }

  // --- functions
  void function(bool entry) {
    Function f;
    f.entry = entry;
    function_ = &f;
    scopes_.assign(1, {});
    if (!entry && peek().is("(")) f.returned = params();
    f.name = within_ = name();
    if (peek().is("(")) f.params = params();
    for (;;) {
      if (take(".maxntid")) {
        f.max_threads = 1;
        do f.max_threads *= static_cast<uint32_t>(integer());
        while (take(","));
      } else if (peek().is(".minnctapersm") || peek().is(".maxnreg")) {
        next(), integer();
      } else if (!take(".noreturn")) {
        break;
      }
    }
    if (take(";")) {  // a declaration: the body follows elsewhere
      function_ = nullptr;
      within_.clear();
      return;
    }
    place_ = {};
    body();
    tree_.functions.push_back(std::move(f));
    function_ = nullptr;
    within_.clear();
  }

  uint32_t params() {
    uint32_t count = 0;
    expect("(");
    while (!take(")")) {
      if (!take(".param")) unknown("a parameter that is not .param");
      for (Variable& v : variables(Space::param, false)) add_variable(std::move(v)), ++count;
      take(",");
    }
    return count;
  }

  void add_variable(Variable v) {
    scopes_.back().variables[v.name] = static_cast<int>(function_->variables.size());
    function_->variables.push_back(std::move(v));
  }

  void body() {
    expect("{");
    scopes_.emplace_back();
    while (!take("}")) {
      if (peek().is("{"))
        body();
      else if (peek().kind == Token::Kind::word && peek().text[0] == '.')
        directive();
      else if (peek().kind == Token::Kind::word && peek(1).is(":"))
        function_->labels.push_back({name(), next_statement()}), next();
      else
        statement();
    }
    scopes_.pop_back();
  }
  uint32_t next_statement() const { return static_cast<uint32_t>(function_->statements.size()); }

  void directive() {
    if (take(".loc")) {
      location();
    } else if (take(".pragma")) {
      while (!next().is(";")) {
      }
    } else if (take(".reg")) {
      registers();
    } else if (const auto space = space_of(peek().text)) {
      next();
      for (Variable& v : variables(*space, false)) add_variable(std::move(v));
      expect(";");
    } else {
      unknown(fmt::format("the directive '{}' is not known", peek().text));
    }
  }

  // .loc 1 26 36, function_name $L__info_string0, inlined_at 1 22 3
  void location() {
    SourcePlace place;
    place.file = static_cast<uint32_t>(integer());
    place.line = static_cast<uint32_t>(integer());
    integer();
    while (take(",")) {
      if (take("function_name")) {
        name();
        if (take("+")) integer();
      } else if (take("inlined_at")) {
        place.inlined_file = static_cast<uint32_t>(integer());
        place.inlined_line = static_cast<uint32_t>(integer());
        integer();
      } else {
        unknown(fmt::format("'{}' in .loc", peek().text));
      }
    }
    if (place.line != 0) place_ = place;  // line 0: the compiler's own, counted with what is before
  }

  void registers() {
    const auto bytes = type_bytes(peek().text);
    if (!bytes) unknown(fmt::format("'{}' is no type of a register", peek().text));
    next();
    do {
      const std::string n = name();
      const auto first = static_cast<uint32_t>(function_->registers.size());
      uint32_t count = 1;
      if (take("<")) {
        count = static_cast<uint32_t>(integer());
        if (count > 1000000) unknown("more registers than can be");
        expect(">");
        scopes_.back().ranges[n] = {first, count};
      } else {
        scopes_.back().registers[n] = first;
      }
      function_->registers.resize(first + count, {std::max(*bytes, *bytes == 1 ? 2u : 0u)});
    } while (take(","));
    expect(";");
  }

  std::optional<uint32_t> find_register(std::string_view text) const {
    size_t digits = text.size();
    while (digits > 0 && text[digits - 1] >= '0' && text[digits - 1] <= '9') --digits;
    uint32_t number = 0;
    std::from_chars(text.data() + digits, text.data() + text.size(), number);
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      if (const auto found = scope->registers.find(text); found != scope->registers.end())
        return found->second;
      if (digits == text.size()) continue;
      const auto range = scope->ranges.find(text.substr(0, digits));
      if (range != scope->ranges.end() && number < range->second.count)
        return range->second.first + number;
    }
    return {};
  }

  void statement() {
    Statement s;
    s.line = peek().line;
    s.place = place_;
    if (take("@")) {
      s.guard_negated = take("!");
      const auto guard = find_register(peek().text);
      if (!guard) unknown(fmt::format("the predicate '{}' is not declared", peek().text));
      s.guard = static_cast<int>(*guard);
      next();
    }
    s.opcode = name();
    if (!peek().is(";")) {
      do {
        s.operands.push_back(operand());
        if (take("|")) s.operands.push_back(operand());
      } while (take(","));
    }
    expect(";");
    function_->statements.push_back(std::move(s));
  }

  Operand operand() {
    Operand o;
    if (take("[")) {
      o.kind = Operand::Kind::address;
      o.parts.push_back(operand());
      std::swap(o.offset, o.parts[0].offset);
      if (take("+")) o.offset += integer();
      expect("]");
      return o;
    }
    if (peek().is("{") || peek().is("(")) {
      const std::string_view close = next().is("{") ? "}" : ")";
      o.kind = Operand::Kind::vector;
      while (!take(close)) o.parts.push_back(operand()), take(",");
      return o;
    }
    o.negated = take("!");
    if (peek().kind == Token::Kind::number || peek().is("-")) return number();
    if (take("_")) {
      o.kind = Operand::Kind::sink;
    } else if (const auto r = find_register(peek().text)) {
      o.kind = Operand::Kind::register_;
      o.register_index = *r;
      next();
    } else if (peek().text.starts_with('%')) {
      o.kind = Operand::Kind::special;
      o.name = name();
    } else {
      o.kind = Operand::Kind::symbol;
      o.name = name();
      for (auto scope = scopes_.rbegin(); scope != scopes_.rend() && o.variable < 0; ++scope)
        if (const auto v = scope->variables.find(o.name); v != scope->variables.end())
          o.variable = v->second;
      if (peek().is("+") || peek().is("-")) take("+"), o.offset = integer();
    }
    return o;
  }

  Tree tree_;
  Function* function_ = nullptr;
  std::vector<Scope> scopes_;
  SourcePlace place_;
};

}  // namespace

Tree parse(std::string_view ptx) {
  return Parser(ptx).parse();
}

}  // namespace diffscm::softgpu::ptx
