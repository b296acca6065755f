// The device's memory: host memory in one reserved range of addresses, so that a device pointer is
// a host address and a copy is a memcpy. The range is shut to the program except while the device
// works: host code that follows a device pointer ends it with a line that says so.
//
// Every allocation starts filled with 0xff (NaN in every floating-point type), is followed by at
// least a page that belongs to none, and never gets the address of one that was freed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace diffscm::softgpu {

struct Allocation {
  uintptr_t begin = 0;
  size_t bytes = 0;
  uint64_t number = 0;  // counts allocations from 1
  bool host = false;    // pinned memory of the host, which kernels and copies may use, too
};

// Not synchronised: the driver (driver.h) lets one thread in at a time.
class Memory {
 public:
  explicit Memory(size_t capacity_bytes);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // Aligned to 256 bytes. Null when less than `bytes` of the capacity are free.
  void* allocate(size_t bytes);
  // Throws Error unless `block` is the begin of an allocation of device memory.
  void release(void* block);

  // Pinned memory: open to the program, ordinary in all other respects.
  void* allocate_host(size_t bytes);
  void release_host(void* block);

  // The allocation that `address` lies in, or null. Exact to the byte.
  const Allocation* find(uintptr_t address) const;
  // Whether all `bytes` lie in one allocation.
  bool holds(const void* address, size_t bytes) const;
  // For messages: "4 bytes past the end of allocation 12 (256 bytes)", "byte 8 of ...", "in
  // allocation 3 (256 bytes), which was freed", "in no allocation".
  std::string place(uintptr_t address) const;

  // Of device memory.
  size_t used_bytes() const { return used_; }
  size_t capacity_bytes() const { return capacity_; }
  // In the order of their making, device and host.
  const std::vector<Allocation>& allocations() const { return allocations_; }

  // Whether the device's range holds it, allocated or not.
  bool in_range(uintptr_t address) const { return address - base_ < kRange; }
  // Opens all of it to this program, until shut().
  void open();
  void shut();
  // Shuts it at the end of a scope.
  class Shut {
   public:
    explicit Shut(Memory& memory) : memory_(memory) {}
    ~Shut() { memory_.shut(); }
    Shut(const Shut&) = delete;
    Shut& operator=(const Shut&) = delete;

   private:
    Memory& memory_;
  };

 private:
  static constexpr size_t kRange = size_t{1} << 40;

  void* add(uintptr_t address, size_t bytes, bool host);
  Allocation remove(void* block, bool host);
  void permit(int protection);

  uintptr_t base_ = 0, top_ = 0;  // what lies from top_ on was never given out
  size_t capacity_, used_ = 0;
  bool open_ = false;
  uint64_t count_ = 0;
  std::vector<Allocation> allocations_, freed_;  // by address; the last ones freed
};

}  // namespace diffscm::softgpu
