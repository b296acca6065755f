// The functions of a kernel, and where their variables lie.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "kernels/softgpu/ptx/syntax.h"

namespace diffscm::softgpu::ptx {

// The address of a module's .global or .const variable; null if it has none of that name.
using AddressOf = std::function<const std::byte*(const std::string& name)>;

// Where the parameters of a kernel lie, one after the other, each aligned.
std::vector<uint32_t> param_offsets(const Function& kernel, uint32_t* bytes);

inline uint32_t aligned(uint32_t offset, uint32_t align) {
  return (offset + align - 1) / align * align;
}

// The name of the function that a call names; empty if it names none.
std::string callee_name(const Statement& call);

// Throws Error for `s` in `kernel`.
[[noreturn]] void fail_at(const Statement& s, const std::string& kernel, const std::string& what);

// A kernel's parameters lie in the launch's block. What is passed to a function lies in local
// memory: the caller's argument and the function's parameter are one and the same place.
class Places {
 public:
  // `name`: of the kernel, for messages. Throws Error for a call that cannot be followed.
  Places(const Tree& tree, const Function& kernel, std::string name, const AddressOf& address_of);

  // The kernel first, then all that it calls, each once, each with one return at its end, where
  // diverged lanes meet before they go back to the caller together.
  std::list<Function> functions;
  uint32_t static_shared_bytes = 0;
  uint32_t local_bytes = 0;  // of a lane

  // What a symbol stands for, in its state space. `f` is one of `functions`. Throws Error if it
  // stands for nothing.
  uint64_t address(const Function& f, const Statement& s, const Operand& symbol) const;

 private:
  void collect(const Function& f, std::set<std::string> callers);
  void place_locals();
  void place_shared();
  void place_shared(const Variable& v, uint32_t* place);
  void pass(const Function& caller, const Statement& call);

  const Tree& tree_;
  std::string name_;
  const AddressOf& address_of_;
  std::map<std::pair<const Function*, size_t>, uint32_t> places_;  // of a function's variables
  std::map<std::string, uint32_t> shared_places_;                  // of the module's
};

}  // namespace diffscm::softgpu::ptx
