#include "kernels/softgpu/stream.h"

namespace diffscm::softgpu {

void Stream::queue(WorkPointer work) {
  queue_.push_back(std::move(work));
  if (queue_.size() > kLongest) run_until(done_ + 1);
}

void Stream::run_until(uint64_t place) {
  while (done_ < place) {
    const WorkPointer work = queue_.front();
    queue_.pop_front();
    ++done_;
    try {
      work->run();
    } catch (const Fault&) {  // of another stream's work, for which this one waits
      throw;
    } catch (const std::exception& e) {
      throw Fault(e.what());
    }
  }
}

}  // namespace diffscm::softgpu
