#include "data/progress.h"

#include <mutex>

namespace diffscm::data {
namespace {

std::mutex mutex;
ProgressListener listener;

}  // namespace

void set_progress_listener(ProgressListener new_listener) {
  const std::lock_guard lock(mutex);
  listener = std::move(new_listener);
}

void LongWork::step_done() {
  const int64_t done = ++done_;
  const std::lock_guard lock(mutex);
  if (listener) listener(what_, done, total_);
}

}  // namespace diffscm::data
