#include "engine/io/npz.h"

#include "tests/fuzz/fuzz_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace diffscm;
  testing::survive_file({data, size}, [](const std::filesystem::path& path) {
    for (const auto& [name, array] : io::read_npz(path)) array.to_doubles();
  });
  return 0;
}
