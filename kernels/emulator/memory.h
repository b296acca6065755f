// The device memory of the target emu: host memory, poisoned when it is allocated.
#pragma once

#include <cstddef>

namespace diffscm::kernels::emulator {

void* allocate_device(size_t bytes);  // null: out of memory
void release_device(void* block);
size_t device_bytes_used();
size_t device_bytes_total();
bool in_device_memory(const void* address, size_t bytes);

// Fills with what reads as NaN in every floating-point type.
void poison(void* memory, size_t bytes);

// While one exists, the calling program may touch device memory.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

}  // namespace diffscm::kernels::emulator
