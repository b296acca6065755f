// A PTX module: what nvcc's text for one source file declares, ready to be executed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace diffscm::softgpu {

class Program;
struct Line64;
namespace ptx {
struct Tree;
}

// Where a parameter lies in the parameter block of a launch.
struct Param {
  uint32_t offset = 0, bytes = 0;
};

// A kernel (.entry). `program` is its code in the form that the interpreter runs (program.h).
struct Entry {
  std::string name;  // mangled
  std::vector<Param> params;
  uint32_t param_bytes = 0;
  uint32_t static_shared_bytes = 0;  // dynamic shared memory follows them
  uint32_t max_threads = 0;          // of .maxntid; 0: not given
  std::shared_ptr<const Program> program;
};

// A variable of module scope in .global or .const memory. Its storage lives as long as the module.
struct Variable {
  std::string name;
  std::byte* data = nullptr;
  size_t bytes = 0;
  bool constant = false;
};

class Module {
 public:
  // Parses the text. Throws Error that names the line of what is no PTX, or a directive that is not
  // known.
  explicit Module(std::string_view ptx);
  ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  // The kernel of that name, decoded when it is first asked for; null if there is none. Throws
  // Error that names line, kernel and form for an instruction that the interpreter does not know.
  const Entry* entry(std::string_view mangled_name);

  const Variable* variable(std::string_view name) const;  // null if there is none
  const std::vector<Variable>& variables() const { return variables_; }

 private:
  std::unique_ptr<const ptx::Tree> tree_;
  std::shared_ptr<const std::vector<std::string>> files_;
  std::map<std::string, Entry, std::less<>> entries_;  // decoded so far
  std::vector<Variable> variables_;
  std::vector<std::unique_ptr<Line64[]>> storage_;
};

}  // namespace diffscm::softgpu
