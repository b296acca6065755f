#include "engine/io/torch_file.h"

#include "tests/fuzz/fuzz_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace diffscm;
  testing::survive_file({data, size}, [](const std::filesystem::path& path) {
    const io::TorchFile file(path);
    for (const auto& [name, unused] : file.state_dicts()) file.read(name);
  });
  return 0;
}
