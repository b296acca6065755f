#include "tests/causal/formats/fuzz.h"

#include "tests/fuzz/fuzz_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace diffscm;
  testing::survives(testing::fuzz_target("bif"), testing::as_text(data, size));
  return 0;
}
