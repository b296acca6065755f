// What the program knows by a handle (a stream, an event, a graph). A handle is never given twice,
// so that one that was destroyed is recognised for ever.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string_view>
#include <utility>

#include "kernels/softgpu/refusal.h"

namespace diffscm::softgpu {

// Handle is CUDA's pointer type, e.g. cudaStream_t; no such pointer points anywhere.
template <class Handle, class T>
class Handles {
 public:
  // kind: "stream". Each kind has handles of its own: first + 16, first + 32, ...
  Handles(std::string_view kind, uintptr_t first) : kind_(kind), first_(first) {}

  Handle add(std::shared_ptr<T> object) {
    const auto handle = reinterpret_cast<Handle>(first_ + 16 * ++count_);
    objects_[handle] = std::move(object);
    return handle;
  }

  // Refuses with cudaErrorInvalidResourceHandle what is no handle, or not any more.
  const std::shared_ptr<T>& at(Handle handle) const {
    const auto found = objects_.find(handle);
    if (found == objects_.end()) unknown(handle);
    return found->second;
  }
  std::shared_ptr<T> remove(Handle handle) {
    const auto found = objects_.find(handle);
    if (found == objects_.end()) unknown(handle);
    std::shared_ptr<T> object = std::move(found->second);
    objects_.erase(found);
    return object;
  }

  void clear() { objects_.clear(); }
  const std::map<Handle, std::shared_ptr<T>>& all() const { return objects_; }

 private:
  [[noreturn]] void unknown(Handle handle) const {
    const auto value = reinterpret_cast<uintptr_t>(handle);
    const bool given = value > first_ && value <= first_ + 16 * count_ && value % 16 == 0;
    refuse(cudaErrorInvalidResourceHandle, "{:#x} is {} {}", value,
           given ? "a destroyed" : "not the handle of a", kind_);
  }

  std::string_view kind_;
  uintptr_t first_;
  uint64_t count_ = 0;
  std::map<Handle, std::shared_ptr<T>> objects_;
};

}  // namespace diffscm::softgpu
