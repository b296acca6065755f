#include "kernels/emulator/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string_view>

#include "kernels/emulator/blocks.h"
#include "kernels/emulator/sanitizer.h"
#include "kernels/emulator/source_line.h"
#include "kernels/error.h"

namespace diffscm::kernels::emulator {
namespace {

constexpr size_t kAlignment = 256;
constexpr bool kArena = !DIFFSCM_EMU_ASAN;

struct Device {
  std::mutex mutex;
  Blocks blocks;
  uintptr_t base = 0;  // of the arena
  size_t bytes = 0;
  bool shut = false;  // whether the host is kept out
  int accesses = 0;   // DeviceAccesses that exist

  Device() {
    bytes =
        static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
    if (!kArena) return;
    void* range = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    require(range != MAP_FAILED, "target emu: cannot reserve {} MiB of addresses", bytes >> 20);
    base = reinterpret_cast<uintptr_t>(range);
    blocks.manage(base, bytes);
    const char* protect = std::getenv("DIFFSCM_EMU_PROTECT");
    if (protect != nullptr && std::string_view(protect) == "1") shut_out_host();
  }

  void shut_out_host();
  void permit(int protection) { mprotect(reinterpret_cast<void*>(base), bytes, protection); }
};

// Lives as long as the program: buffers may be given back by destructors of static objects.
Device& device() {
  static Device& value = *new Device;
  return value;
}

// The program is lost anyway, so this does what a signal handler may not otherwise do.
void segmentation_fault(int, siginfo_t* info, void* context) {
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  Device& d = device();
  if (d.shut && address - d.base < d.bytes) {
    const void* pc = nullptr;
#if defined(__x86_64__)
    pc = reinterpret_cast<const void*>(
        static_cast<const ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP] + 1);
#else
    static_cast<void>(context);
#endif
    const std::string where = device_place(info->si_addr);
    const std::string line = fmt::format(
        "host code touched device memory of target emu at {}{}, from {}\n", fmt::ptr(info->si_addr),
        where.empty() ? where : " (" + where + ")", place_with_callers({nullptr, 0, pc}));
    static_cast<void>(!write(STDERR_FILENO, line.data(), line.size()));
    std::abort();
  }
  std::signal(SIGSEGV, SIG_DFL);  // not ours: happens again, without this handler
}

void Device::shut_out_host() {
  if (!kArena || shut) return;
  shut = true;
  struct sigaction action {};
  action.sa_sigaction = segmentation_fault;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, nullptr);
  if (accesses == 0) permit(PROT_NONE);
}

}  // namespace

void poison(void* memory, size_t bytes) {
  if (bytes > 0) std::memset(memory, 0xff, bytes);
}

void* allocate_device(size_t bytes) {
  Device& d = device();
  void* block = nullptr;
  {
    const std::lock_guard lock(d.mutex);
    if (kArena) {
      const auto taken = d.blocks.take(bytes, kAlignment);
      if (taken) block = reinterpret_cast<void*>(taken->address);
    } else if (bytes <= d.bytes && posix_memalign(&block, kAlignment, bytes) == 0) {
      d.blocks.add(reinterpret_cast<uintptr_t>(block), bytes);
    }
  }
  if (block == nullptr) return nullptr;
  const DeviceAccess access;
  poison(block, bytes);
  return block;
}

void release_device(void* block) {
  if (block == nullptr) return;
  Device& d = device();
  const std::lock_guard lock(d.mutex);
  const auto removed = d.blocks.remove(reinterpret_cast<uintptr_t>(block), kArena);
  require(removed.has_value(), "target emu: {} is not the start of a block of device memory",
          fmt::ptr(block));
  if (!kArena) {
    std::free(block);
    return;
  }
  // Whole pages go back to the system.
  constexpr uintptr_t kPage = 4096;
  const uintptr_t first = (removed->address + kPage - 1) / kPage * kPage;
  const uintptr_t last = (removed->address + removed->bytes) / kPage * kPage;
  if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

size_t device_bytes_used() {
  Device& d = device();
  const std::lock_guard lock(d.mutex);
  return d.blocks.bytes_used();
}

size_t device_bytes_total() {
  return device().bytes;
}

bool in_device_memory(const void* address, size_t bytes) {
  Device& d = device();
  const auto at = reinterpret_cast<uintptr_t>(address);
  const std::lock_guard lock(d.mutex);
  const auto block = d.blocks.find(at);
  return block.has_value() && bytes <= block->address + block->bytes - at;
}

std::string device_place(const void* address) {
  Device& d = device();
  const auto at = reinterpret_cast<uintptr_t>(address);
  const std::lock_guard lock(d.mutex);
  const auto block = d.blocks.find(at);
  if (!block.has_value()) return "";
  return fmt::format("byte {} of a block of {} bytes", at - block->address, block->bytes);
}

void protect_device_memory() {
  Device& d = device();
  const std::lock_guard lock(d.mutex);
  d.shut_out_host();
}

DeviceAccess::DeviceAccess() {
  Device& d = device();
  const std::lock_guard lock(d.mutex);
  if (d.accesses++ == 0 && d.shut) d.permit(PROT_READ | PROT_WRITE);
}
DeviceAccess::~DeviceAccess() {
  Device& d = device();
  const std::lock_guard lock(d.mutex);
  if (--d.accesses == 0 && d.shut) d.permit(PROT_NONE);
}

}  // namespace diffscm::kernels::emulator
