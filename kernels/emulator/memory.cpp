#include "kernels/emulator/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>

#include "kernels/error.h"

namespace diffscm::kernels::emulator {
namespace {

constexpr size_t kAlignment = 256;

// One reserved range of addresses, of which pages exist once they are touched.
class Arena {
 public:
  Arena() {
    bytes_ =
        static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
    void* base = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    require(base != MAP_FAILED, "target emu: cannot reserve {} MiB of addresses", bytes_ >> 20);
    base_ = static_cast<char*>(base);
    free_[0] = bytes_;
  }

  void* allocate(size_t bytes) {
    const std::lock_guard lock(mutex_);
    const size_t size = (std::max<size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
    const auto gap =
        std::ranges::find_if(free_, [&](const auto& range) { return range.second >= size; });
    if (gap == free_.end()) return nullptr;
    const auto [offset, available] = *gap;
    free_.erase(gap);
    if (available > size) free_[offset + size] = available - size;
    used_[offset] = size;
    used_bytes_ += size;
    return base_ + offset;
  }

  void release(void* block) {
    const std::lock_guard lock(mutex_);
    const auto found = used_.find(static_cast<size_t>(static_cast<char*>(block) - base_));
    require(found != used_.end(), "target emu: {} is not the start of a block of device memory",
            fmt::ptr(block));
    auto [offset, size] = *found;
    used_.erase(found);
    used_bytes_ -= size;
    constexpr size_t kPage = 4096;  // give whole pages back
    const size_t first = (offset + kPage - 1) / kPage * kPage,
                 last = (offset + size) / kPage * kPage;
    if (last > first) madvise(base_ + first, last - first, MADV_DONTNEED);
    auto after = free_.lower_bound(offset);
    if (after != free_.end() && after->first == offset + size) {
      size += after->second;
      after = free_.erase(after);
    }
    if (after != free_.begin()) {
      const auto before = std::prev(after);
      if (before->first + before->second == offset) {
        before->second += size;
        return;
      }
    }
    free_[offset] = size;
  }

  bool contains(const void* address, size_t bytes) const {
    const auto* p = static_cast<const char*>(address);
    return p >= base_ && p + bytes <= base_ + bytes_;
  }
  size_t bytes() const { return bytes_; }
  size_t used() const { return used_bytes_; }

 private:
  std::mutex mutex_;
  char* base_ = nullptr;
  size_t bytes_ = 0, used_bytes_ = 0;
  std::map<size_t, size_t> free_, used_;  // offset -> size
};

Arena& arena() {
  static Arena value;
  return value;
}

}  // namespace

void poison(void* memory, size_t bytes) {
  if (bytes > 0) std::memset(memory, 0xff, bytes);
}

void* allocate_device(size_t bytes) {
  void* block = arena().allocate(bytes);
  if (block != nullptr) {
    const DeviceAccess access;
    poison(block, bytes);
  }
  return block;
}
void release_device(void* block) {
  if (block != nullptr) arena().release(block);
}
size_t device_bytes_used() {
  return arena().used();
}
size_t device_bytes_total() {
  return arena().bytes();
}
bool in_device_memory(const void* address, size_t bytes) {
  return arena().contains(address, bytes);
}

DeviceAccess::DeviceAccess() {}
DeviceAccess::~DeviceAccess() {}

}  // namespace diffscm::kernels::emulator
