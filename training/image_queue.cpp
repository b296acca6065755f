#include "training/image_queue.h"

#include <algorithm>
#include <span>

#include "kernels/error.h"

namespace diffscm {

ImageQueue::ImageQueue(const data::ImageSource& source, Plan plan, int64_t ahead, int threads)
    : source_(source), plan_(std::move(plan)), ahead_(ahead) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

ImageQueue::~ImageQueue() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  begun_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

std::vector<uint8_t> ImageQueue::take(int64_t step) {
  {
    const std::lock_guard lock(mutex_);
    // Threads that are in the middle of an image of these finish it for nobody.
    if (!batches_.empty() && batches_.front()->step != step) batches_.clear();
  }
  // One more than stays in the queue.
  for (int64_t s = step + std::ssize(batches_); s <= step + ahead_; ++s) open(s);
  std::unique_lock lock(mutex_);
  const std::shared_ptr<Batch> first = batches_.front();
  done_.wait(lock, [&] { return first->done == first->requests.size(); });
  batches_.pop_front();
  if (first->error) {
    batches_.clear();
    std::rethrow_exception(first->error);
  }
  return std::move(first->levels);
}

void ImageQueue::open(int64_t step) {
  auto batch = std::make_shared<Batch>();
  batch->step = step;
  batch->requests = plan_(step);
  const int64_t image = source_.height() * source_.width() * source_.channels();
  batch->levels.resize(batch->requests.size() * static_cast<size_t>(image));
  {
    const std::lock_guard lock(mutex_);
    batches_.push_back(std::move(batch));
  }
  begun_.notify_all();
}

std::shared_ptr<ImageQueue::Batch> ImageQueue::unfinished() const {
  const auto found = std::ranges::find_if(
      batches_, [](const auto& batch) { return batch->begun < batch->requests.size(); });
  return found == batches_.end() ? nullptr : *found;
}

void ImageQueue::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    std::shared_ptr<Batch> batch;
    begun_.wait(lock, [&] { return stop_ || (batch = unfinished()) != nullptr; });
    if (stop_) return;
    const size_t i = batch->begun++;
    lock.unlock();
    const size_t image = batch->levels.size() / batch->requests.size();
    std::exception_ptr error;
    try {
      const ImageRequest& request = batch->requests[i];
      source_.read(request.image, std::span(batch->levels).subspan(i * image, image), request.crop);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    if (error) batch->error = error;
    if (++batch->done == batch->requests.size()) done_.notify_all();
  }
}

}  // namespace diffscm
