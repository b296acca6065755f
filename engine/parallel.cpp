#include "engine/parallel.h"

#include "kernels/cpu/thread_pool.h"

namespace diffscm {

void in_parallel(int64_t tasks, const std::function<void(int64_t task)>& work) {
  kernels::cpu::thread_pool().run(tasks, work);
}

}  // namespace diffscm
