// From the tree of a module to the program of one of its kernels.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "kernels/softgpu/ptx/program.h"
#include "kernels/softgpu/ptx/syntax.h"

namespace diffscm::softgpu::ptx {

// The address of a module's .global or .const variable; null if it has none of that name.
using AddressOf = std::function<const std::byte*(const std::string& name)>;

// Throws Error that names the PTX line, the kernel and what is not known.
std::shared_ptr<Program> decode(const Tree& tree, const Function& kernel,
                                const AddressOf& address_of);

// Where the parameters of a kernel lie, one after the other, each aligned.
std::vector<uint32_t> param_offsets(const Function& kernel, uint32_t* bytes);

}  // namespace diffscm::softgpu::ptx
