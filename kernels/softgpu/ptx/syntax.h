// PTX text as a tree: what is declared, and the statements of each function. Registers are
// resolved here, because their names obey the scopes of { }; symbols of module scope are not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace diffscm::softgpu::ptx {

// A place in CUDA source, from .loc: the innermost function's, and the line of the function that
// it was inlined into (0: not inlined). Files are numbered as in the module's .file directives.
struct SourcePlace {
  uint32_t file = 0, line = 0;
  uint32_t inlined_file = 0, inlined_line = 0;
  bool operator==(const SourcePlace&) const = default;
};

struct Register {
  uint32_t bytes = 4;  // 0: a predicate
};

enum class Space { param, shared, global, constant, local };

struct Variable {
  std::string name;
  Space space = Space::global;
  uint32_t align = 1, bytes = 0;
  bool external = false;        // .extern .shared: takes the launch's dynamic shared memory
  std::vector<std::byte> data;  // its initialiser, if any; zeros follow
};

struct Operand {
  enum class Kind {
    register_,  // %r1
    special,    // %tid.x
    number,     // 12, 0f3F800000
    symbol,     // a variable, a function or a label
    address,    // [base + offset]: parts[0] is a register, a number or a symbol
    vector,     // {a, b, ...}; of a call: (a, b, ...)
    sink        // _
  };
  Kind kind = Kind::number;
  uint32_t register_index = 0;  // into Function::registers
  bool negated = false;         // !%p1
  std::string name;             // special, symbol
  int variable = -1;            // symbol: into Function::variables; -1: of module scope, or a label
  int64_t offset = 0;           // symbol, address
  uint64_t bits = 0;            // number
  enum class Number { integer, f32, f64 } number = Number::integer;
  std::vector<Operand> parts;
};

struct Statement {
  std::string opcode;  // with its modifiers: ld.global.v4.f32
  int guard = -1;      // @%p1: the register
  bool guard_negated = false;
  std::vector<Operand> operands;  // d|p counts as two
  int line = 0;                   // of the PTX text
  SourcePlace place;
};

struct Label {
  std::string name;
  uint32_t statement = 0;  // the one that follows
};

struct Function {
  std::string name;
  bool entry = false;
  std::vector<Register> registers;
  std::vector<Variable> variables;  // of function scope, parameters first
  uint32_t returned = 0;            // .func: how many of the variables are what it returns,
  uint32_t params = 0;              // and how many, after them, are parameters
  uint32_t max_threads = 0;         // .maxntid
  std::vector<Statement> statements;
  std::vector<Label> labels;
};

struct Tree {
  std::vector<Function> functions;
  std::vector<Variable> variables;
  std::vector<std::string> files;  // by number of .file; [0] is empty
};

// Throws Error that names the line, and the function if it is in one, for what it does not know.
Tree parse(std::string_view ptx);

}  // namespace diffscm::softgpu::ptx
