// Memory of tensors: one caching pool per target, and the reference-counted block that a Tensor
// shares.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "engine/tensor.h"

namespace diffscm {

struct MemoryStatistics {
  int64_t in_use_bytes = 0;  // held by live tensors
  int64_t cached_bytes = 0;  // free, kept for reuse
  int64_t peak_bytes = 0;    // highest in_use since the last reset
};
MemoryStatistics memory_statistics(Target target);
void reset_peak_memory(Target target);
// Gives every cached free block back to the system.
void release_cached_memory(Target target);

// A block of a target's memory, aligned to 64 bytes. Freed blocks return to the pool, by size
// class. Throws Error when memory runs out, saying how much was asked, is in use and was cached.
class Storage {
 public:
  Storage(int64_t bytes, Target target);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  Target target() const { return target_; }

  // Counts changes of the contents, so that values derived from them know when they are stale.
  uint64_t version() const { return version_; }
  void touch() { ++version_; }

  struct Derived {
    uint64_t version;
    Tensor value;
  };
  std::mutex derived_mutex;
  std::map<std::string, Derived> derived;

 private:
  void* data_;
  int64_t bytes_;
  Target target_;
  uint64_t version_ = 0;
};

}  // namespace diffscm
