#include "engine/io/safetensors.h"

#include "tests/fuzz/fuzz_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace diffscm;
  testing::survive_file({data, size}, [](const std::filesystem::path& path) {
    io::read_safetensors(path);
    io::read_safetensors_metadata(path);
  });
  return 0;
}
