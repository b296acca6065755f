#include "engine/io/jpeg.h"

#include "tests/fuzz/fuzz_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace diffscm;
  testing::survive([&] { io::decode_jpeg({data, size}, "file"); });
  return 0;
}
