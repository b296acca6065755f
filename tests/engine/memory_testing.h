// How much memory a piece of work takes at most.
#pragma once

#include <cstdint>
#include <fstream>
#include <functional>
#include <optional>
#include <string>

namespace diffscm::testing {

inline int64_t peak_memory_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == "VmHWM:") {
      int64_t kib = 0;
      status >> kib;
      return kib;
    }
  return 0;
}

// The most that the process had resident during `work`, beyond what it had before, in MiB. Nothing
// where that cannot be known: no /proc, or a sanitizer that keeps what is freed.
inline std::optional<double> memory_taken(const std::function<void()>& work) {
#ifdef __SANITIZE_ADDRESS__
  work();
  return {};
#else
  std::ofstream("/proc/self/clear_refs") << 5;  // the peak starts anew
  const int64_t before = peak_memory_kib();
  work();
  if (before == 0) return {};
  return static_cast<double>(peak_memory_kib() - before) / 1024;
#endif
}

}  // namespace diffscm::testing
