// A target under test and arrays in its memory: what is uploaded, what an operator must write, and
// the check that it wrote nothing else.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/targets.h"

namespace diffscm::kernels::test {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

struct Target {
  const char* name;
  const OperatorTable& (*operators)();
  const Runtime& (*runtime)();
};

inline constexpr Target kTargets[] = {
    {"cpu", cpu::operators, cpu::runtime},
    {"emu", emu::operators, emu::runtime},
#ifdef DIFFSCM_WITH_CUDA
    {"cuda", cuda::operators, cuda::runtime},
#endif
};

// An array in a target's memory, between two guard bands. Every byte of an output and of an input's
// bands starts as 0xff: NaN in f32, f64 and bf16, so that an element nobody wrote and a read out of
// bounds both show. The bands of what may be written hold 0xfe, a huge number: what was computed
// from another array's bands is often that very NaN, and must show as well. The destructor checks
// that the bands and, where T is const, the array itself are as they were. An empty array is a null
// pointer.
template <class T>
class Array {
 public:
  using Value = std::remove_const_t<T>;

  // A copy of `values`, `offset` elements past an address aligned to 256 bytes.
  Array(const Runtime& runtime, std::vector<Value> values, int64_t offset)
      : Array(runtime, static_cast<int64_t>(values.size()), offset) {
    if (block_ != nullptr) runtime_->copy(data_, values.data(), bytes(), Copy::to_device, {});
    if constexpr (std::is_const_v<T>) uploaded_ = std::move(values);
  }
  Array(const Runtime& runtime, int64_t size, int64_t offset) : runtime_(&runtime), size_(size) {
    if (size == 0) return;
    const size_t before = kBand + static_cast<size_t>(offset) * sizeof(T);
    std::vector<unsigned char> poison(before + bytes() + kBand, kBandByte);
    std::memset(poison.data() + before, kPoison, bytes());
    block_ = static_cast<unsigned char*>(runtime.allocate(poison.size()));
    require(block_ != nullptr, "no memory for a test array of {} bytes", poison.size());
    runtime.copy(block_, poison.data(), poison.size(), Copy::to_device, {});
    data_ = reinterpret_cast<Value*>(block_ + before);
  }
  Array(Array&& other) noexcept
      : runtime_(other.runtime_),
        size_(other.size_),
        block_(std::exchange(other.block_, nullptr)),
        data_(other.data_),
        uploaded_(std::move(other.uploaded_)) {}
  Array& operator=(Array&& other) noexcept {
    Array moved(std::move(other));
    std::swap(runtime_, moved.runtime_);
    std::swap(size_, moved.size_);
    std::swap(block_, moved.block_);
    std::swap(data_, moved.data_);
    std::swap(uploaded_, moved.uploaded_);
    return *this;
  }
  ~Array() {
    if (block_ == nullptr) return;
    check();
    runtime_->release(block_);
  }

  T* data() const { return block_ == nullptr ? nullptr : data_; }
  operator T*() const { return data(); }
  int64_t size() const { return size_; }

  // What the array holds now.
  std::vector<Value> values() const {
    if constexpr (std::is_const_v<T>) return uploaded_;
    std::vector<Value> out(static_cast<size_t>(size_));
    if (block_ != nullptr) runtime_->copy(out.data(), data_, bytes(), Copy::to_host, {});
    return out;
  }
  Floats floats() const {
    Floats out;
    for (const Value v : values()) out.push_back(to_float(v));
    return out;
  }
  Doubles doubles() const {
    const Floats x = floats();
    return Doubles(x.begin(), x.end());
  }

  // New contents, in place.
  void upload(const std::vector<Value>& values) {
    require(static_cast<int64_t>(values.size()) == size_, "upload of another size");
    if (block_ != nullptr) runtime_->copy(data_, values.data(), bytes(), Copy::to_device, {});
  }
  void poison() {
    std::vector<Value> values(static_cast<size_t>(size_));
    if (!values.empty()) std::memset(values.data(), kPoison, bytes());
    upload(values);
  }

 private:
  static constexpr size_t kBand = 256;
  static constexpr unsigned char kPoison = 0xff;
  static constexpr unsigned char kBandByte = std::is_const_v<T> ? kPoison : 0xfe;

  size_t bytes() const { return static_cast<size_t>(size_) * sizeof(T); }

  void check() const noexcept {
    const size_t before = static_cast<size_t>(reinterpret_cast<unsigned char*>(data_) - block_);
    std::vector<unsigned char> now(before + bytes() + kBand);
    try {
      runtime_->copy(now.data(), block_, now.size(), Copy::to_host, {});
    } catch (const std::exception& e) {
      ADD_FAILURE() << "reading an array back: " << e.what();
      return;
    }
    const std::span all(now);
    const auto intact = [](std::span<unsigned char> band) {
      return std::all_of(band.begin(), band.end(), [](unsigned char c) { return c == kBandByte; });
    };
    EXPECT_TRUE(intact(all.first(before))) << "written before an array of " << size_;
    EXPECT_TRUE(intact(all.last(kBand))) << "written past an array of " << size_;
    if constexpr (std::is_const_v<T>) {
      EXPECT_EQ(std::memcmp(now.data() + before, uploaded_.data(), bytes()), 0)
          << "an input of " << size_ << " elements was changed";
    }
  }

  const Runtime* runtime_;
  int64_t size_;
  unsigned char* block_ = nullptr;
  Value* data_ = nullptr;
  std::vector<Value> uploaded_;  // inputs only
};

// `x` as storage type T: rounded when T is bf16.
template <class T>
std::vector<T> stored(const Floats& x) {
  if constexpr (std::is_same_v<T, float>) {
    return x;
  } else {
    std::vector<T> out;
    for (const float v : x) out.push_back(to_bf16(v));
    return out;
  }
}

class Device {
 public:
  explicit Device(const Target& target)
      : table(target.operators()), runtime(target.runtime()), name_(target.name) {}

  const OperatorTable& table;
  const Runtime& runtime;
  int64_t offset = 0;  // by how many elements arrays miss 256-byte alignment

  bool is(std::string_view name) const { return name_ == name; }

  template <class T = float>
  Array<const T> input(const Floats& x) const {
    return {runtime, stored<T>(x), offset};
  }
  template <class T>
  Array<const T> input(const std::vector<T>& x) const {
    return {runtime, x, offset};
  }
  template <class T = float>
  Array<T> output(int64_t n) const {
    return {runtime, n, offset};
  }
  // Read and written.
  template <class T = float>
  Array<T> inout(const Floats& x) const {
    return {runtime, stored<T>(x), offset};
  }

  // Those of an operator's cases that are run here, `times` over: the emulator takes tens of
  // nanoseconds for what a GPU does in parallel, and the double reference its time. Work is counted
  // in elements, or FLOPs / 100. DIFFSCM_TEST_WORK sets another limit, for runs under a checker
  // that are far slower. A test that thereby loses cases unawares fails: only what is there for the
  // benchmark (`timed`) may be too much; under another limit half of the others must be left.
  template <class Case>
  std::vector<Case> affordable(const std::vector<Case>& cases, double times = 1) const {
    const char* other = std::getenv("DIFFSCM_TEST_WORK");
    const double limit = other ? std::atof(other) : name_ == "emu" ? 6e5 : 2e6;
    std::vector<Case> run;
    size_t meant = 0, left = 0;
    for (const Case& k : cases) {
      const bool affords = times * k.work() <= limit;
      if (affords) run.push_back(k);
      if (k.timed) continue;
      ++meant;
      left += affords;
      EXPECT_TRUE(affords || other) << k.name << " is too much work for " << name_ << ": "
                                    << times * k.work() << " with a limit of " << limit;
    }
    EXPECT_GE(2 * left, meant) << "of " << meant << " cases " << left << " are left";
    EXPECT_FALSE(run.empty());
    return run;
  }

 private:
  std::string_view name_;
};

}  // namespace diffscm::kernels::test
