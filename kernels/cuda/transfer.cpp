// Host memory is pageable, and the driver copies pageable memory through a small buffer of its own
// while the caller waits. Instead, copies go through a ring of pinned chunks: filling one chunk
// overlaps with the transfer of the one before, and a copy to the device does not wait for the
// device at all unless the ring is full.
#include "kernels/cuda/transfer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <mutex>

#include "kernels/cuda/runtime.h"

namespace diffscm::kernels::cuda {
namespace {

constexpr size_t kChunk = size_t{4} << 20;

struct Chunk {
  char* data = nullptr;
  cudaEvent_t done = nullptr;  // of the last transfer through it
};

class Ring {
 public:
  Ring() {
    for (Chunk& c : chunks_) {
      check(cudaMallocHost(reinterpret_cast<void**>(&c.data), kChunk), "allocating pinned memory");
      check(cudaEventCreateWithFlags(&c.done, cudaEventDisableTiming), "creating an event");
    }
  }
  // The chunk whose turn it is, free to be filled.
  Chunk& next() {
    Chunk& c = chunks_[turn_++ % chunks_.size()];
    check(cudaEventSynchronize(c.done), "copying between host and device");
    return c;
  }

  std::mutex mutex;

 private:
  std::array<Chunk, 4> chunks_;
  size_t turn_ = 0;
};

// Never destroyed: the driver may be gone before static objects are.
Ring& ring() {
  static Ring* const value = new Ring;
  return *value;
}

}  // namespace

void copy_to_device(void* to, const void* from, size_t bytes, cudaStream_t stream) {
  Ring& r = ring();
  const std::lock_guard lock(r.mutex);
  for (size_t begin = 0; begin < bytes; begin += kChunk) {
    const size_t part = std::min(kChunk, bytes - begin);
    Chunk& chunk = r.next();
    std::memcpy(chunk.data, static_cast<const char*>(from) + begin, part);
    check(cudaMemcpyAsync(static_cast<char*>(to) + begin, chunk.data, part, cudaMemcpyHostToDevice,
                          stream),
          "copying to the device");
    check(cudaEventRecord(chunk.done, stream), "copying to the device");
  }
}

void copy_to_host(void* to, const void* from, size_t bytes, cudaStream_t stream) {
  Ring& r = ring();
  const std::lock_guard lock(r.mutex);
  // Transfer k is under way while what transfer k - 1 brought is copied out.
  struct Part {
    Chunk* chunk = nullptr;
    size_t begin = 0, bytes = 0;
  } previous;
  const auto deliver = [&](const Part& p) {
    if (p.chunk == nullptr) return;
    check(cudaEventSynchronize(p.chunk->done), "copying from the device");
    std::memcpy(static_cast<char*>(to) + p.begin, p.chunk->data, p.bytes);
  };
  for (size_t begin = 0; begin < bytes; begin += kChunk) {
    const Part part{&r.next(), begin, std::min(kChunk, bytes - begin)};
    check(cudaMemcpyAsync(part.chunk->data, static_cast<const char*>(from) + begin, part.bytes,
                          cudaMemcpyDeviceToHost, stream),
          "copying from the device");
    check(cudaEventRecord(part.chunk->done, stream), "copying from the device");
    deliver(previous);
    previous = part;
  }
  deliver(previous);
}

}  // namespace diffscm::kernels::cuda
