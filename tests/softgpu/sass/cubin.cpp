// softgpu_cubin OBJECT ARCHITECTURE OUT: writes the machine code (an ELF file, for nvdisasm) that
// nvcc put into an object for that architecture, 90 for sm_90.
#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <span>
#include <string>

#include "kernels/error.h"
#include "kernels/softgpu/fatbin.h"

using namespace diffscm;

namespace {

std::string cubin(const std::string& path, const std::string& architecture) {
  std::ifstream file(path, std::ios::binary);
  require(file.good(), "{} cannot be read", path);
  const std::string object{std::istreambuf_iterator<char>(file), {}};
  const std::string magic{"\x50\xED\x55\xBA", 4};
  for (size_t at = object.find(magic); at != object.npos; at = object.find(magic, at + 8)) {
    const auto container = std::as_bytes(std::span(object)).subspan(at);
    for (const softgpu::Image& image : softgpu::read_fatbin(container))
      if (image.kind == softgpu::Image::Kind::cubin &&
          std::to_string(image.architecture) == architecture)
        return image.contents;
  }
  fail("{} has no machine code for sm_{}", path, architecture);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    require(argc == 4, "usage: softgpu_cubin OBJECT ARCHITECTURE OUT");
    std::ofstream(argv[3], std::ios::binary) << cubin(argv[1], argv[2]) << std::flush;
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "softgpu_cubin: %s\n", e.what());
    return 1;
  }
}
