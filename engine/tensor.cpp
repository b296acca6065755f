#include "engine/tensor.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "engine/memory.h"

namespace diffscm {

int64_t size_of(Dtype dtype) {
  return dtype == Dtype::f32 ? 4 : 8;
}
const char* name_of(Dtype dtype) {
  return dtype == Dtype::f32 ? "f32" : "i64";
}

int64_t numel(const Shape& shape) {
  int64_t count = 1;
  for (const int64_t d : shape) {
    require(d >= 0, "shape {} has a negative dimension", to_string(shape));
    require(d == 0 || count <= std::numeric_limits<int64_t>::max() / 16 / d,
            "shape {} is too large", to_string(shape));
    count *= d;
  }
  return count;
}

std::string to_string(const Shape& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

Tensor::Tensor(Shape shape, Target target, Dtype dtype)
    : numel_(diffscm::numel(shape)), shape_(std::move(shape)), dtype_(dtype) {
  storage_ = std::make_shared<Storage>(numel_ * size_of(dtype), target);
}

Tensor Tensor::zeros(Shape shape, Target target) {
  return full(std::move(shape), 0, target);
}

Tensor Tensor::full(Shape shape, float value, Target target) {
  Tensor t(std::move(shape));
  std::fill_n(t.mutable_data(), t.numel(), value);
  return t.to(target);
}

Tensor Tensor::from(std::span<const float> values, Shape shape, Target target) {
  Tensor t(std::move(shape));
  require(static_cast<int64_t>(values.size()) == t.numel(), "{} values do not fill shape {}",
          values.size(), to_string(t.shape()));
  std::copy(values.begin(), values.end(), t.mutable_data());
  return t.to(target);
}

Tensor Tensor::from(std::span<const int64_t> values, Shape shape, Target target) {
  Tensor t(std::move(shape), Target::cpu, Dtype::i64);
  require(static_cast<int64_t>(values.size()) == t.numel(), "{} values do not fill shape {}",
          values.size(), to_string(t.shape()));
  std::copy(values.begin(), values.end(), t.mutable_data_i64());
  return t.to(target);
}

int64_t Tensor::dim(int i) const {
  const int index = i < 0 ? i + rank() : i;
  require(index >= 0 && index < rank(), "dimension {} of a tensor of shape {}", i,
          to_string(shape_));
  return shape_[static_cast<size_t>(index)];
}

Target Tensor::target() const {
  require(storage_ != nullptr, "empty tensor");
  return storage_->target();
}

namespace {
template <class T>
T* element_pointer(const std::shared_ptr<Storage>& storage, int64_t offset, Dtype has,
                   Dtype wanted) {
  require(storage != nullptr, "empty tensor");
  require(has == wanted, "tensor holds {}, not {}", name_of(has), name_of(wanted));
  return static_cast<T*>(storage->data()) + offset;
}
}  // namespace

const float* Tensor::data() const {
  return element_pointer<const float>(storage_, offset_, dtype_, Dtype::f32);
}
float* Tensor::mutable_data() {
  float* p = element_pointer<float>(storage_, offset_, dtype_, Dtype::f32);
  storage_->touch();
  return p;
}
const int64_t* Tensor::data_i64() const {
  return element_pointer<const int64_t>(storage_, offset_, dtype_, Dtype::i64);
}
int64_t* Tensor::mutable_data_i64() {
  int64_t* p = element_pointer<int64_t>(storage_, offset_, dtype_, Dtype::i64);
  storage_->touch();
  return p;
}

Tensor Tensor::reshape(Shape shape) const {
  require(diffscm::numel(shape) == numel_, "cannot reshape {} to {}", to_string(shape_),
          to_string(shape));
  Tensor t = *this;
  t.shape_ = std::move(shape);
  return t;
}

Tensor Tensor::view(int64_t offset, Shape shape) const {
  const int64_t count = diffscm::numel(shape);
  require(offset >= 0 && offset + count <= numel_, "view of {} elements at {} into {} elements",
          count, offset, numel_);
  Tensor t = *this;
  t.offset_ += offset;
  t.numel_ = count;
  t.shape_ = std::move(shape);
  return t;
}

Tensor Tensor::slice(int64_t begin, int64_t end) const {
  require(rank() > 0 && begin >= 0 && begin <= end && end <= shape_[0], "slice {}:{} of shape {}",
          begin, end, to_string(shape_));
  Shape shape = shape_;
  const int64_t row = shape_[0] == 0 ? 0 : numel_ / shape_[0];
  shape[0] = end - begin;
  return view(begin * row, std::move(shape));
}

Tensor Tensor::clone() const {
  Tensor t(shape_, target(), dtype_);
  t.copy_from(*this);
  return t;
}

Tensor Tensor::to(Target target) const {
  if (this->target() == target) return *this;
  Tensor t(shape_, target, dtype_);
  t.copy_from(*this);
  return t;
}

void Tensor::copy_from(const Tensor& source) {
  require(source.shape_ == shape_ && source.dtype_ == dtype_, "cannot copy {} {} into {} {}",
          name_of(source.dtype_), to_string(source.shape_), name_of(dtype_), to_string(shape_));
  require(target() == Target::cpu && source.target() == Target::cpu,
          "cannot copy from device '{}' to '{}': not part of this build", name_of(source.target()),
          name_of(target()));
  const int64_t item = size_of(dtype_);
  std::memmove(static_cast<char*>(storage_->data()) + offset_ * item,
               static_cast<const char*>(source.storage_->data()) + source.offset_ * item,
               static_cast<size_t>(numel_ * item));
  storage_->touch();
}

std::vector<float> Tensor::to_vector() const {
  const Tensor host = to(Target::cpu);
  return {host.data(), host.data() + numel_};
}

Tensor Tensor::derived(const std::string& key, const std::function<Tensor()>& compute) const {
  require(storage_ != nullptr, "empty tensor");
  const std::lock_guard lock(storage_->derived_mutex);
  const std::string full_key = fmt::format("{}@{}", key, offset_);
  const auto found = storage_->derived.find(full_key);
  if (found != storage_->derived.end() && found->second.version == storage_->version())
    return found->second.value;
  Tensor value = compute();
  storage_->derived[full_key] = {storage_->version(), value};
  return value;
}

}  // namespace diffscm
