// Work on the processor that is no operator.
#pragma once

#include <cstdint>
#include <functional>

namespace diffscm {

// Calls work(task) for each task in [0, tasks), in any order, on the threads of the cpu target
// (set_threads, engine/target.h). An exception of a task reaches the caller.
void in_parallel(int64_t tasks, const std::function<void(int64_t task)>& work);

}  // namespace diffscm
