#include "kernels/targets.h"

#include "kernels/cpu/thread_pool.h"

namespace diffscm::kernels {

BuiltTarget built_target(std::string_view name) {
  if (name == "cpu") return {&cpu::operators(), &cpu::runtime()};
  if (name == "cuda") {
#ifdef DIFFSCM_WITH_CUDA
    return {&cuda::operators(), &cuda::runtime(), &cuda::whole_network()};
#else
    return {.left_out = "this program was built without it (DIFFSCM_CUDA; needs nvcc)"};
#endif
  }
  if (name == "emu") {
#ifdef DIFFSCM_WITH_EMU
    return {&emu::operators(), &emu::runtime(), &emu::whole_network()};
#else
    return {.left_out = "this program was built without it (DIFFSCM_EMU; scripts/build.sh has it)"};
#endif
  }
  return {.left_out = "there is no such target: choose cpu, cuda or emu"};
}

void set_threads(int threads) {
  cpu::set_threads(threads);
#ifdef DIFFSCM_WITH_EMU
  emu::set_threads(cpu::threads());
#endif
}

}  // namespace diffscm::kernels
