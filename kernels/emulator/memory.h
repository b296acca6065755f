// The device memory of the target emu: host memory, poisoned when it is allocated.
//
// Ordinarily it is one reserved range of addresses. So it can be shut to the host: with
// DIFFSCM_EMU_PROTECT=1 it can be touched only while a launch or a copy runs, and host code that
// follows a device pointer ends the program with a line that says so, as it would on a GPU. In a
// build with AddressSanitizer every block is one of the heap instead, exactly as large as asked
// for, so that an access past its end is reported.
#pragma once

#include <cstddef>
#include <string>

namespace diffscm::kernels::emulator {

void* allocate_device(size_t bytes);  // null: out of memory
void release_device(void* block);
size_t device_bytes_used();
size_t device_bytes_total();
bool in_device_memory(const void* address, size_t bytes);
// "byte N of a block of M bytes", or "" if the address is in none.
std::string device_place(const void* address);

// Fills with what reads as NaN in every floating-point type.
void poison(void* memory, size_t bytes);

// Shuts device memory to the host from now on, as DIFFSCM_EMU_PROTECT=1 does from the start.
void protect_device_memory();

// While one exists, device memory may be touched.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

}  // namespace diffscm::kernels::emulator
