#include "kernels/softgpu/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "kernels/error.h"

namespace diffscm::softgpu {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kRemembered = 4096;  // freed allocations that a message can still name

size_t whole_pages(size_t bytes) {
  return (bytes + kPage - 1) / kPage * kPage;
}

// Where `address` would be inserted: after all allocations that begin at or before it.
auto after(const std::vector<Allocation>& all, uintptr_t address) {
  return std::upper_bound(all.begin(), all.end(), address,
                          [](uintptr_t a, const Allocation& b) { return a < b.begin; });
}

std::string describe(const Allocation& a) {
  return fmt::format("{}allocation {} ({} bytes)", a.host ? "pinned " : "", a.number, a.bytes);
}

}  // namespace

Memory::Memory(size_t capacity_bytes) : capacity_(capacity_bytes) {
  void* range =
      mmap(nullptr, kRange, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  require(range != MAP_FAILED, "softgpu: cannot reserve {} GiB of addresses", kRange >> 30);
  base_ = top_ = reinterpret_cast<uintptr_t>(range);
}

Memory::~Memory() {
  for (const Allocation& a : allocations_)
    if (a.host) munmap(reinterpret_cast<void*>(a.begin), whole_pages(a.bytes));
  munmap(reinterpret_cast<void*>(base_), kRange);
}

void* Memory::add(uintptr_t address, size_t bytes, bool host) {
  const auto at = after(allocations_, address);
  allocations_.insert(at, {address, bytes, ++count_, host});
  void* block = reinterpret_cast<void*>(address);
  std::memset(block, 0xff, bytes);
  return block;
}

void* Memory::allocate(size_t bytes) {
  const size_t pages = whole_pages(bytes);
  if (bytes > capacity_ - used_ || pages + kPage > base_ + kRange - top_) return nullptr;
  const uintptr_t address = top_;
  top_ += pages + kPage;
  used_ += bytes;
  mprotect(reinterpret_cast<void*>(address), pages + kPage, PROT_READ | PROT_WRITE);
  void* block = add(address, bytes, false);
  if (!open_) mprotect(block, pages + kPage, PROT_NONE);
  return block;
}

Allocation Memory::remove(void* block, bool host) {
  const auto address = reinterpret_cast<uintptr_t>(block);
  const auto next = after(allocations_, address);
  const bool is_begin = next != allocations_.begin() && std::prev(next)->begin == address;
  require(is_begin && std::prev(next)->host == host, "{} is not the begin of {} memory: it is {}",
          fmt::ptr(block), host ? "pinned" : "device", place(address));
  const Allocation found = *std::prev(next);
  allocations_.erase(std::prev(next));
  freed_.push_back(found);
  if (freed_.size() > kRemembered) freed_.erase(freed_.begin(), freed_.begin() + kRemembered / 2);
  return found;
}

void Memory::release(void* block) {
  const Allocation gone = remove(block, false);
  used_ -= gone.bytes;
  // New pages in the place of the old ones: those go back to the system, these are shut.
  mmap(block, whole_pages(gone.bytes), PROT_NONE,
       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

void* Memory::allocate_host(size_t bytes) {
  void* block =
      mmap(nullptr, whole_pages(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return block == MAP_FAILED ? nullptr : add(reinterpret_cast<uintptr_t>(block), bytes, true);
}

void Memory::release_host(void* block) {
  const Allocation gone = remove(block, true);
  munmap(block, whole_pages(gone.bytes));
}

const Allocation* Memory::find(uintptr_t address) const {
  const auto next = after(allocations_, address);
  if (next == allocations_.begin()) return nullptr;
  const Allocation& a = *std::prev(next);
  return address - a.begin < a.bytes ? &a : nullptr;
}

bool Memory::holds(const void* address, size_t bytes) const {
  const auto begin = reinterpret_cast<uintptr_t>(address);
  const Allocation* a = find(begin);
  return a != nullptr && bytes <= a->begin + a->bytes - begin;
}

std::string Memory::place(uintptr_t address) const {
  if (const Allocation* a = find(address))
    return fmt::format("byte {} of {}", address - a->begin, describe(*a));
  for (auto a = freed_.rbegin(); a != freed_.rend(); ++a)
    if (address - a->begin < a->bytes) return fmt::format("in {}, which was freed", describe(*a));
  const auto next = after(allocations_, address);
  if (next != allocations_.begin()) {
    const Allocation& a = *std::prev(next);
    const size_t past = address - (a.begin + a.bytes);
    if (past < kPage) return fmt::format("{} bytes past the end of {}", past, describe(a));
  }
  if (next != allocations_.end() && next->begin - address <= kPage)
    return fmt::format("{} bytes before {}", next->begin - address, describe(*next));
  return "in no allocation of the device";
}

void Memory::open() {
  if (open_) return;
  open_ = true;
  permit(PROT_READ | PROT_WRITE);
}

void Memory::shut() {
  if (!open_) return;
  open_ = false;
  permit(PROT_NONE);
}

// Allocations that lie close together at once: one call of the system each.
void Memory::permit(int protection) {
  constexpr size_t kClose = size_t{1} << 16;
  uintptr_t begin = 0, end = 0;
  const auto apply = [&] {
    if (end > begin) mprotect(reinterpret_cast<void*>(begin), end - begin, protection);
  };
  for (const Allocation& a : allocations_) {
    if (a.host) continue;
    if (end == 0 || a.begin - end > kClose) {
      apply();
      begin = a.begin;
    }
    end = a.begin + whole_pages(a.bytes);
  }
  apply();
}

}  // namespace diffscm::softgpu
