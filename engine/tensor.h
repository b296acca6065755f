// Tensor: a contiguous, typed block of memory on one target, with a shape.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "engine/target.h"

namespace diffscm {

// Everything that is computed with is f32 or bf16; the others hold indices, and scalars that an
// operator reads from the target's memory.
enum class Dtype { f32, bf16, i64, f64, u32 };
int64_t size_of(Dtype dtype);
const char* name_of(Dtype dtype);

// The dtype that stores T.
template <class T>
inline constexpr Dtype dtype_of = [] {
  if constexpr (std::is_same_v<T, float>) return Dtype::f32;
  if constexpr (std::is_same_v<T, kernels::bf16>) return Dtype::bf16;
  if constexpr (std::is_same_v<T, int64_t>) return Dtype::i64;
  if constexpr (std::is_same_v<T, double>) return Dtype::f64;
  if constexpr (std::is_same_v<T, uint32_t>) return Dtype::u32;
}();

// Dimensions, outermost first. Images are [N, H, W, C].
using Shape = std::vector<int64_t>;
int64_t numel(const Shape& shape);
std::string to_string(const Shape& shape);  // "[2, 28, 28, 1]"

class Storage;

// Copying a Tensor shares its memory; clone() copies it. Always contiguous: reshape is free, there
// are no strides. Memory comes from the target's pool (engine/memory.h) and is uninitialised unless
// said.
class Tensor {
 public:
  Tensor() = default;
  explicit Tensor(Shape shape, Target target = Target::cpu, Dtype dtype = Dtype::f32);
  // A shape without memory: as false as an empty tensor, and as little can be read from it.
  static Tensor of_shape(Shape shape);
  // Numbers on the host that `owner` has, such as a mapped file; shared, not copied.
  static Tensor borrowed(std::shared_ptr<void> owner, void* numbers, Shape shape, Dtype dtype);
  static Tensor zeros(Shape shape, Target target = Target::cpu);
  static Tensor full(Shape shape, float value, Target target = Target::cpu);
  // The same f32 values whenever it is asked for: shared by all, so nobody may write to it. Unlike
  // full() it copies nothing from the host when it is not the first call of its kind, so that a
  // step that is being recorded may use it.
  static Tensor constant(Shape shape, float value, Target target);
  static Tensor from(std::span<const float> values, Shape shape, Target target = Target::cpu);
  static Tensor from(std::span<const int64_t> values, Shape shape, Target target = Target::cpu);
  static Tensor from(std::span<const double> values, Shape shape, Target target = Target::cpu);
  static Tensor from(std::span<const uint32_t> values, Shape shape, Target target = Target::cpu);

  explicit operator bool() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  int64_t dim(int i) const;  // negative counts from the end
  int rank() const { return static_cast<int>(shape_.size()); }
  int64_t numel() const { return numel_; }
  Dtype dtype() const { return dtype_; }
  Target target() const;
  bool is_borrowed() const;

  // Pointers into the target's memory: only its operators may follow them, unless the target is
  // cpu. T must be what the tensor holds. Taking a mutable one counts as a change of the contents.
  template <class T = float>
  const T* data() const {
    return static_cast<const T*>(address(dtype_of<T>));
  }
  template <class T = float>
  T* mutable_data() {
    touch();
    return static_cast<T*>(address(dtype_of<T>));
  }
  const int64_t* data_i64() const { return data<int64_t>(); }
  int64_t* mutable_data_i64() { return mutable_data<int64_t>(); }

  Tensor reshape(Shape shape) const;
  // Elements [begin, end) of the first dimension, sharing memory.
  Tensor slice(int64_t begin, int64_t end) const;
  // `shape` elements starting `offset` elements into this tensor's memory, shared (parameter
  // arenas).
  Tensor view(int64_t offset, Shape shape) const;
  // The memory that this tensor shares with others, all of it, and where in it this one begins.
  Tensor whole() const;
  int64_t offset() const { return offset_; }
  Tensor clone() const;
  Tensor to(Target target) const;
  void copy_from(const Tensor& source);  // same shape; any target
  std::vector<float> to_vector() const;  // of f32 or bf16

  // Value derived from the present contents (a packed convolution weight, a bf16 copy), computed
  // once for this shape and dtype and kept with the memory until the next mutable_data(). `key`
  // names the kind of derivation.
  Tensor derived(const std::string& key, const std::function<Tensor()>& compute) const;

 private:
  void* address(Dtype wanted) const;
  void touch();

  std::shared_ptr<Storage> storage_;
  int64_t offset_ = 0;  // elements
  int64_t numel_ = 0;
  Shape shape_;
  Dtype dtype_ = Dtype::f32;
};

}  // namespace diffscm
