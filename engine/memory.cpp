#include "engine/memory.h"

#include <array>
#include <bit>
#include <cstdlib>
#include <new>
#include <vector>

namespace diffscm {
namespace {

// Size classes: eight per power of two, so that at most 1/8 of a block is wasted and the few shapes
// of a model fall into few classes.
int64_t size_class(int64_t bytes) {
  constexpr int64_t kSmallest = 256;
  if (bytes <= kSmallest) return kSmallest;
  const int64_t step = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(bytes - 1))) / 8;
  return (bytes + step - 1) / step * step;
}

class Pool {
 public:
  explicit Pool(Target target) : target_(target) {}

  void* allocate(int64_t bytes) {
    const std::lock_guard lock(mutex_);
    const int64_t size = size_class(bytes);
    statistics_.in_use_bytes += size;
    statistics_.peak_bytes = std::max(statistics_.peak_bytes, statistics_.in_use_bytes);
    auto& blocks = free_[size];
    if (!blocks.empty()) {
      void* block = blocks.back();
      blocks.pop_back();
      statistics_.cached_bytes -= size;
      return block;
    }
    if (void* block = system_allocate(size)) return block;
    release_locked();
    if (void* block = system_allocate(size)) return block;
    statistics_.in_use_bytes -= size;
    fail("out of memory on {}: asked for {:.1f} MiB with {:.1f} MiB in use; use a smaller --batch",
         name_of(target_), static_cast<double>(size) / (1 << 20),
         static_cast<double>(statistics_.in_use_bytes) / (1 << 20));
  }

  void deallocate(void* block, int64_t bytes) {
    const std::lock_guard lock(mutex_);
    const int64_t size = size_class(bytes);
    free_[size].push_back(block);
    statistics_.in_use_bytes -= size;
    statistics_.cached_bytes += size;
  }

  void release() {
    const std::lock_guard lock(mutex_);
    release_locked();
  }

  MemoryStatistics statistics() const {
    const std::lock_guard lock(mutex_);
    return statistics_;
  }

  void reset_peak() {
    const std::lock_guard lock(mutex_);
    statistics_.peak_bytes = statistics_.in_use_bytes;
  }

 private:
  static void* system_allocate(int64_t bytes) {
    return ::operator new (static_cast<size_t>(bytes), std::align_val_t{64}, std::nothrow);
  }

  void release_locked() {
    for (auto& [size, blocks] : free_) {
      for (void* block : blocks) ::operator delete (block, std::align_val_t{64});
      blocks.clear();
    }
    statistics_.cached_bytes = 0;
  }

  Target target_;
  mutable std::mutex mutex_;
  std::map<int64_t, std::vector<void*>> free_;
  MemoryStatistics statistics_;
};

// Never destroyed: tensors with static storage duration may outlive any destructor order.
Pool& pool(Target target) {
  static std::array<Pool*, 3> pools{new Pool(Target::cpu), new Pool(Target::cuda),
                                    new Pool(Target::emu)};
  return *pools[static_cast<size_t>(target)];
}

}  // namespace

MemoryStatistics memory_statistics(Target target) {
  return pool(target).statistics();
}
void reset_peak_memory(Target target) {
  pool(target).reset_peak();
}
void release_cached_memory(Target target) {
  pool(target).release();
}

Storage::Storage(int64_t bytes, Target target)
    : data_(pool(target).allocate(bytes)), bytes_(bytes), target_(target) {}

Storage::~Storage() {
  pool(target_).deallocate(data_, bytes_);
}

}  // namespace diffscm
