// Memory of tensors: a caching pool per target, and the reference-counted block that a Tensor
// shares.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/tensor.h"

namespace diffscm {

struct MemoryStatistics {
  int64_t in_use_bytes = 0;     // held by live tensors
  int64_t cached_bytes = 0;     // free, kept for reuse
  int64_t peak_bytes = 0;       // highest in_use since the last reset
  int64_t peak_held_bytes = 0;  // and of both together: what the process takes for tensors
};
MemoryStatistics memory_statistics(Target target);
void reset_peak_memory(Target target);
// Gives the memory that no tensor holds back to the system.
void release_cached_memory(Target target);
// `give_up` frees tensors that are only held to save time. It is called, for the rest of the
// program, by an allocation that would fail, except while a step is recorded.
void on_memory_shortage(std::function<void()> give_up);

// Blocks of one target's memory, aligned to 256 bytes. Freed blocks return to the pool, by size
// class. The engine orders all work of a target in one stream, so a block may be handed out again
// while the work that last used it is still queued.
class MemoryPool {
 public:
  explicit MemoryPool(Target target) : target_(target) {}
  ~MemoryPool();
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;

  // Of more than kRoomy bytes on the host, blocks that fit no request go back to the system before
  // others are taken from it, so that tensors never hold more than they once needed at a time.
  static constexpr int64_t kRoomy = int64_t{512} << 20;
  // Throws Error when memory runs out, saying how much was asked, is in use, cached and free.
  void* allocate(int64_t bytes);
  void deallocate(void* block, int64_t bytes);
  // Gives the free blocks back to the system.
  void release();
  // Hands the free blocks over to the target's general pool, and from now on every block as soon as
  // it is freed: the next pool takes from there before it asks the system.
  void retire();

 private:
  void make_room_locked(int64_t size);
  void* take_free(int64_t size);

  Target target_;
  bool retired_ = false;
  std::map<int64_t, std::vector<void*>> free_;  // by size class
};

class Storage {
 public:
  Storage(int64_t bytes, Target target);
  // Memory on the host that somebody else owns, such as a mapped file; kept alive.
  Storage(std::shared_ptr<void> owner, void* data, int64_t bytes);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  Target target() const { return target_; }
  bool is_borrowed() const { return owner_ != nullptr; }

  // Counts changes of the contents, so that values derived from them know when they are stale.
  uint64_t version() const { return version_; }
  void touch() { ++version_; }

  // Values derived from the contents (Tensor::derived), by what they are.
  struct Derived {
    uint64_t version;
    Tensor value;
  };
  std::mutex derived_mutex;
  std::map<std::string, Derived> derived;

 private:
  std::shared_ptr<MemoryPool> pool_;  // empty where `owner_` has the memory
  std::shared_ptr<void> owner_;
  void* data_;
  int64_t bytes_;
  Target target_;
  uint64_t version_ = 0;
};

// What a CapturedStep (engine/captured_step.h) learns about the body that it runs.
struct StepScope {
  Target target;
  std::shared_ptr<MemoryPool> pool;  // where the body's tensors on `target` come from
  bool recording = false;            // the rest is filled in only while the body is recorded:
  std::vector<std::weak_ptr<Storage>> changed;  // what it writes

  // A derived value that it reads. One that was there already is right for as long as its source is
  // at `version`; one that the body itself computes is computed again by each replay.
  struct Read {
    std::weak_ptr<Storage> source;
    std::string key;
    Tensor value;
    uint64_t version;
    bool computed_here;
  };
  std::vector<Read> derived;
  void read_derived(const std::shared_ptr<Storage>& source, const std::string& key,
                    const Tensor& value, uint64_t version, bool computed_now);
};
// Of this thread; null outside a step.
StepScope*& step_scope();

}  // namespace diffscm
