// From the tree of a module to the program of one of its kernels.
#pragma once

#include <memory>

#include "kernels/softgpu/ptx/places.h"
#include "kernels/softgpu/ptx/program.h"
#include "kernels/softgpu/ptx/syntax.h"

namespace diffscm::softgpu::ptx {

// Throws Error that names the PTX line, the kernel and what is not known.
std::shared_ptr<Program> decode(const Tree& tree, const Function& kernel,
                                const AddressOf& address_of);

}  // namespace diffscm::softgpu::ptx
