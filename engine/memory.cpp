#include "engine/memory.h"

#include <algorithm>
#include <array>
#include <bit>

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

// Per target, over all its pools.
struct Account {
  std::mutex mutex;
  MemoryStatistics statistics;
  int64_t needed = 0;  // highest in_use ever
};

// Neither accounts nor general pools are ever destroyed: tensors with static storage duration may
// outlive any destructor order.
Account& account(Target target) {
  static std::array<Account*, 3> accounts{new Account, new Account, new Account};
  return *accounts[static_cast<size_t>(target)];
}

const std::shared_ptr<MemoryPool>& general_pool(Target target) {
  static const auto* pools = new std::array{std::make_shared<MemoryPool>(Target::cpu),
                                            std::make_shared<MemoryPool>(Target::cuda),
                                            std::make_shared<MemoryPool>(Target::emu)};
  return (*pools)[static_cast<size_t>(target)];
}

// What on_memory_shortage() was given; never destroyed either.
struct Spare {
  std::mutex mutex;
  std::vector<std::function<void()>> give_up;
};
Spare& spare() {
  static Spare* const only = new Spare;
  return *only;
}
void give_up_spare_memory() {
  std::unique_lock lock(spare().mutex);
  const auto all = spare().give_up;
  lock.unlock();
  for (const auto& give_up : all) give_up();
}

double mebibytes(auto bytes) {
  return static_cast<double>(bytes) / (1 << 20);
}

[[noreturn]] void out_of_memory(Target target, int64_t size, const MemoryStatistics& s) {
  const kernels::DeviceMemory device = runtime(target).memory();
  fail(
      "out of memory on {}: asked for {:.1f} MiB with {:.1f} MiB in use, {:.1f} MiB cached and "
      "{:.1f} of {:.1f} MiB free on the device; use a smaller --batch, or in training "
      "--micro-batch or "
      "--recompute (diffscm inspect MODEL --memory says what is needed)",
      name_of(target), mebibytes(size), mebibytes(s.in_use_bytes), mebibytes(s.cached_bytes),
      mebibytes(device.free_bytes), mebibytes(device.total_bytes));
}

}  // namespace

MemoryPool::~MemoryPool() {
  release();
}

void* MemoryPool::allocate(int64_t bytes) {
  const int64_t size = size_class(bytes);
  const auto system_allocate = [&] { return runtime(target_).allocate(static_cast<size_t>(size)); };
  auto& [mutex, statistics, needed] = account(target_);
  std::unique_lock lock(mutex);
  void* block = take_free(size);
  if (block == nullptr) block = general_pool(target_)->take_free(size);
  if (block != nullptr) {
    statistics.cached_bytes -= size;
  } else {
    if (target_ == Target::cpu) make_room_locked(size);
    block = system_allocate();
  }
  if (block == nullptr) {
    // Only the general pool's free blocks are nobody's: those of a step's pool are part of what it
    // replays.
    lock.unlock();
    if (step_scope() == nullptr || !step_scope()->recording) give_up_spare_memory();
    general_pool(target_)->release();
    lock.lock();
    block = system_allocate();
  }
  if (block == nullptr) out_of_memory(target_, size, statistics);
  statistics.in_use_bytes += size;
  statistics.peak_bytes = std::max(statistics.peak_bytes, statistics.in_use_bytes);
  needed = std::max(needed, statistics.in_use_bytes);
  statistics.peak_held_bytes =
      std::max(statistics.peak_held_bytes, statistics.in_use_bytes + statistics.cached_bytes);
  return block;
}

// The last of that size class to be freed, or null. The caller holds the account's mutex.
void* MemoryPool::take_free(int64_t size) {
  auto& blocks = free_[size];
  if (blocks.empty()) return nullptr;
  void* block = blocks.back();
  blocks.pop_back();
  return block;
}

void MemoryPool::deallocate(void* block, int64_t bytes) {
  const int64_t size = size_class(bytes);
  auto& [mutex, statistics, needed] = account(target_);
  const std::lock_guard lock(mutex);
  (retired_ ? general_pool(target_)->free_ : free_)[size].push_back(block);
  statistics.in_use_bytes -= size;
  statistics.cached_bytes += size;
}

void MemoryPool::release() {
  auto& [mutex, statistics, needed] = account(target_);
  const std::lock_guard lock(mutex);
  for (auto& [size, blocks] : free_) {
    for (void* block : blocks) runtime(target_).release(block);
    statistics.cached_bytes -= size * static_cast<int64_t>(blocks.size());
    blocks.clear();
  }
}

void MemoryPool::make_room_locked(int64_t size) {
  MemoryStatistics& s = account(target_).statistics;
  const int64_t most = std::max({kRoomy, account(target_).needed, s.in_use_bytes + size});
  for (auto blocks = free_.rbegin(); blocks != free_.rend(); ++blocks)
    while (!blocks->second.empty() && s.in_use_bytes + s.cached_bytes + size > most) {
      runtime(target_).release(blocks->second.back());
      blocks->second.pop_back();
      s.cached_bytes -= blocks->first;
    }
}

void MemoryPool::retire() {
  const std::lock_guard lock(account(target_).mutex);
  retired_ = true;
  for (auto& [size, blocks] : free_) {
    auto& general = general_pool(target_)->free_[size];
    general.insert(general.end(), blocks.begin(), blocks.end());
    blocks.clear();
  }
}

MemoryStatistics memory_statistics(Target target) {
  auto& [mutex, statistics, needed] = account(target);
  const std::lock_guard lock(mutex);
  return statistics;
}
void reset_peak_memory(Target target) {
  auto& [mutex, statistics, needed] = account(target);
  const std::lock_guard lock(mutex);
  statistics.peak_bytes = statistics.in_use_bytes;
  statistics.peak_held_bytes = statistics.in_use_bytes + statistics.cached_bytes;
}

void release_cached_memory(Target target) {
  general_pool(target)->release();
}

void on_memory_shortage(std::function<void()> give_up) {
  const std::lock_guard lock(spare().mutex);
  spare().give_up.push_back(std::move(give_up));
}

StepScope*& step_scope() {
  static thread_local StepScope* current = nullptr;
  return current;
}

void StepScope::read_derived(const std::shared_ptr<Storage>& source, const std::string& key,
                             const Tensor& value, uint64_t version, bool computed_now) {
  const auto first = std::find_if(derived.begin(), derived.end(), [&](const Read& r) {
    return r.key == key && r.source.lock() == source && r.version == version;
  });
  if (first == derived.end()) derived.push_back({source, key, value, version, computed_now});
}

Storage::Storage(int64_t bytes, Target target)
    : pool_(step_scope() != nullptr && step_scope()->target == target ? step_scope()->pool
                                                                      : general_pool(target)),
      data_(pool_->allocate(bytes)),
      bytes_(bytes),
      target_(target) {}

Storage::Storage(std::shared_ptr<void> owner, void* data, int64_t bytes)
    : owner_(std::move(owner)), data_(data), bytes_(bytes), target_(Target::cpu) {}

Storage::~Storage() {
  if (pool_) pool_->deallocate(data_, bytes_);
}

}  // namespace diffscm
