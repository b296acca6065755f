#include "engine/io/webp.h"

#include "tests/fuzz/fuzz_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace diffscm;
  testing::survive([&] { io::decode_webp({data, size}, "file"); });
  return 0;
}
