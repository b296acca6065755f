// The numbers of a program that every lane has alike.
#pragma once

#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "kernels/softgpu/ptx/program.h"

namespace diffscm::softgpu::ptx {

// A constant is a register like any other, whose lanes all hold the same. They are counted from the
// end of their array, backwards.
class Constants {
 public:
  Slot add(uint32_t bytes, uint64_t value) {
    const auto [found, is_new] = slots_.try_emplace({bytes, value}, 0);
    if (!is_new) return found->second;
    size_ += bytes * 32;
    values_.push_back({bytes, value});
    return found->second = -static_cast<Slot>(size_);
  }
  std::vector<Line64> lines() const {
    std::vector<Line64> lines(size_ / sizeof(Line64));
    auto* end = reinterpret_cast<std::byte*>(lines.data()) + size_;
    for (const auto& [bytes, value] : values_) {
      end -= bytes * 32;
      for (uint32_t lane = 0; lane < 32; ++lane) std::memcpy(end + lane * bytes, &value, bytes);
    }
    return lines;
  }

 private:
  using Value = std::pair<uint32_t, uint64_t>;
  std::map<Value, Slot> slots_;
  std::vector<Value> values_;
  uint32_t size_ = 0;
};

}  // namespace diffscm::softgpu::ptx
