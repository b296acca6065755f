// libFuzzer's entry to the readers of graphs, tables and expressions. The first byte of an input
// selects the reader. With clang:
//   cmake -B build/fuzz -DCMAKE_CXX_COMPILER=clang++ -DDIFFSCM_FUZZ=ON -DDIFFSCM_CUDA=OFF
//   cmake --build build/fuzz --target fuzz_graph_formats
//   build/fuzz/bin/fuzz_graph_formats -max_len=4096 CORPUS_FOLDER
#include <cstddef>
#include <cstdint>

#include "tests/causal/formats/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace diffscm::testing;
  if (size == 0) return 0;
  survives(kFuzzTargets[data[0] % kFuzzTargets.size()],
           {reinterpret_cast<const char*>(data) + 1, size - 1});
  return 0;
}
