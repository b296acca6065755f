// The images of coming steps, decoded by threads of their own while the present step is trained.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "data/image_source.h"

namespace diffscm {

// One image of a batch, and how training sees it.
struct ImageRequest {
  int64_t image = 0;
  std::optional<data::CropDraw> crop;
};

// Batches of the steps in order, at most `ahead` of them made before they are taken, so that memory
// does not depend on the size of the data set. What a batch holds is a function of its step alone:
// a queue that starts in the middle gives what one from the beginning gives there.
class ImageQueue {
 public:
  // `plan` says what the batch of a step consists of; it is called by whoever takes.
  using Plan = std::function<std::vector<ImageRequest>(int64_t step)>;
  ImageQueue(const data::ImageSource& source, Plan plan, int64_t ahead, int threads);
  ~ImageQueue();
  ImageQueue(const ImageQueue&) = delete;
  ImageQueue& operator=(const ImageQueue&) = delete;

  // Levels [requests, H, W, C]. Waits for them; a step other than the next one starts anew there.
  // Throws the Error that decoding threw, each time that step is taken.
  std::vector<uint8_t> take(int64_t step);

 private:
  struct Batch {
    int64_t step = 0;
    std::vector<ImageRequest> requests;
    std::vector<uint8_t> levels;
    size_t begun = 0, done = 0;  // requests
    std::exception_ptr error;
  };

  void open(int64_t step);
  void work();
  std::shared_ptr<Batch> unfinished() const;

  const data::ImageSource& source_;
  Plan plan_;
  int64_t ahead_;
  std::mutex mutex_;
  std::condition_variable begun_, done_;
  std::deque<std::shared_ptr<Batch>> batches_;  // of consecutive steps
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace diffscm
