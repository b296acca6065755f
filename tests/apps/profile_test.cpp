// diffscm profile where there is no CUDA device in software: tests/softgpu has the rest.
#include "tests/apps/commands.h"

namespace diffscm {
namespace {

TEST(Profile, NeedsTheDeviceInSoftware) {
  for (const Arguments& more : {Arguments{}, {"--precision", "bf16"}, {"--device", "cuda"}})
    expect_failure(diffscm(Arguments{"profile"} + more), 1,
                   "profile needs the CUDA device in software: run build/bin/diffscm-softgpu");
}

}  // namespace
}  // namespace diffscm
