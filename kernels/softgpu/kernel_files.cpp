#include "kernels/softgpu/kernel_files.h"

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>

#include "kernels/softgpu/device.h"
#include "kernels/softgpu/refusal.h"

namespace diffscm::softgpu {
namespace {

// PTX runs on its own architecture and all later ones. If there is none for this device, which then
// has machine code, the oldest there is says what that code was compiled from.
const Image* choose_ptx(const std::vector<Image>& images, int architecture) {
  const Image *best = nullptr, *oldest = nullptr;
  for (const Image& image : images) {
    if (image.kind != Image::Kind::ptx) continue;
    if (oldest == nullptr || image.architecture < oldest->architecture) oldest = &image;
    if (image.architecture <= architecture &&
        (best == nullptr || image.architecture > best->architecture))
      best = &image;
  }
  return best != nullptr ? best : oldest;
}

// Machine code runs on its own architecture and later ones of the same generation.
const Image* choose_cubin(const std::vector<Image>& images, int architecture) {
  const Image* best = nullptr;
  for (const Image& image : images)
    if (image.kind == Image::Kind::cubin && image.architecture <= architecture &&
        image.architecture / 10 == architecture / 10 &&
        (best == nullptr || image.architecture > best->architecture))
      best = &image;
  return best;
}

void read(KernelFile& file, int architecture) {
  const std::vector<Image> images = read_fatbin(file.fatbin);
  const Image* ptx = choose_ptx(images, architecture);
  demand(ptx != nullptr, cudaErrorNoKernelImageForDevice,
         "a fat binary without PTX: compile for a virtual architecture, too (e.g. 90)");
  if (const Image* cubin = choose_cubin(images, architecture))
    file.resources = read_cubin(cubin->contents);
  file.module = std::make_unique<Module>(ptx->contents);
  file.ptx_architecture = ptx->architecture;
}

}  // namespace

KernelFile* KernelFiles::add(const void* fatbin) {
  files_.push_back(std::make_unique<KernelFile>(
      KernelFile{.fatbin = fatbin, .module = nullptr, .resources = {}}));
  return files_.back().get();
}

void KernelFiles::remove(KernelFile* file) {
  std::erase_if(kernels_, [&](const auto& k) { return k.second->file == file; });
  std::erase_if(files_, [&](const auto& f) { return f.get() == file; });
}

void KernelFiles::add_kernel(KernelFile* file, const void* stub, std::string name) {
  kernels_[stub] = std::make_unique<Kernel>(Kernel{.file = file,
                                                   .name = std::move(name),
                                                   .title = {},
                                                   .resources = {},
                                                   .allowed_dynamic_shared_bytes = 0});
}

Kernel& KernelFiles::find(const void* function, int architecture) {
  auto found = kernels_.find(function);
  if (found == kernels_.end())
    found = std::find_if(kernels_.begin(), kernels_.end(),
                         [&](const auto& k) { return k.second.get() == function; });
  demand(found != kernels_.end(), cudaErrorInvalidDeviceFunction,
         "{} is no kernel that was registered", fmt::ptr(function));
  Kernel& kernel = *found->second;
  if (kernel.entry != nullptr) return kernel;
  try {
    if (!kernel.file->module) read(*kernel.file, architecture);
    kernel.entry = kernel.file->module->entry(kernel.name);
  } catch (const Refusal&) {
    throw;
  } catch (const std::exception& e) {
    refuse(cudaErrorInvalidPtx, "kernel {}: {}", demangled(kernel.name), e.what());
  }
  demand(kernel.entry != nullptr, cudaErrorInvalidDeviceFunction, "kernel {}: its file has none",
         demangled(kernel.name));
  kernel.title = demangled(kernel.name);
  if (const auto r = kernel.file->resources.find(kernel.name); r != kernel.file->resources.end())
    kernel.resources = r->second;
  kernel.allowed_dynamic_shared_bytes =
      kSharedWithoutAsking -
      std::min(kSharedWithoutAsking, size_t{kernel.entry->static_shared_bytes});
  return kernel;
}

std::string demangled(const std::string& name) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(
      abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status), std::free);
  if (status != 0) return name;
  std::string plain = text.get();
  const auto drop = [&](std::string_view part) {
    for (size_t at; (at = plain.find(part)) != plain.npos;) plain.erase(at, part.size());
  };
  drop("diffscm::kernels::cuda::");
  drop("diffscm::kernels::");
  drop("(anonymous namespace)::");
  if (plain.starts_with("void ")) plain.erase(0, 5);
  // The parameter list begins at the last parenthesis that is not inside template arguments.
  int angle = 0;
  for (size_t i = 0; i < plain.size(); ++i) {
    angle += plain[i] == '<' ? 1 : plain[i] == '>' ? -1 : 0;
    if (plain[i] == '(' && angle == 0) return plain.substr(0, i);
  }
  return plain;
}

}  // namespace diffscm::softgpu
