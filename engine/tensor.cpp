#include "engine/tensor.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <map>
#include <mutex>
#include <tuple>
#include <utility>

#include "engine/memory.h"

namespace diffscm {

int64_t size_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::bf16:
      return 2;
    case Dtype::f32:
    case Dtype::u32:
      return 4;
    case Dtype::i64:
    case Dtype::f64:
      return 8;
  }
  fail("unknown dtype {}", static_cast<int>(dtype));
}
const char* name_of(Dtype dtype) {
  constexpr const char* kNames[] = {"f32", "bf16", "i64", "f64", "u32"};
  return kNames[static_cast<int>(dtype)];
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

Tensor Tensor::of_shape(Shape shape) {
  Tensor t;
  t.numel_ = diffscm::numel(shape);
  t.shape_ = std::move(shape);
  return t;
}

Tensor Tensor::borrowed(std::shared_ptr<void> owner, void* numbers, Shape shape, Dtype dtype) {
  Tensor t = of_shape(std::move(shape));
  t.dtype_ = dtype;
  t.storage_ = std::make_shared<Storage>(std::move(owner), numbers, t.numel_ * size_of(dtype));
  return t;
}

Tensor Tensor::zeros(Shape shape, Target target) {
  return full(std::move(shape), 0, target);
}

Tensor Tensor::full(Shape shape, float value, Target target) {
  Tensor t(std::move(shape));
  std::fill_n(t.mutable_data(), t.numel(), value);
  return t.to(target);
}

Tensor Tensor::constant(Shape shape, float value, Target target) {
  using Key = std::tuple<Target, int64_t, float>;
  static std::mutex mutex;
  static auto* constants =
      new std::map<Key, Tensor>;  // never destroyed, as the pools they are from
  const std::lock_guard lock(mutex);
  const int64_t count = diffscm::numel(shape);
  Tensor& found = (*constants)[{target, count, value}];
  if (!found) {
    StepScope* const scope = std::exchange(step_scope(), nullptr);  // it outlives any step
    found = full({count}, value, target);
    step_scope() = scope;
  }
  return found.reshape(std::move(shape));
}

namespace {
template <class T>
Tensor from_span(std::span<const T> values, Shape shape, Target target) {
  Tensor t(std::move(shape), Target::cpu, dtype_of<T>);
  require(static_cast<int64_t>(values.size()) == t.numel(), "{} values do not fill shape {}",
          values.size(), to_string(t.shape()));
  std::copy(values.begin(), values.end(), t.mutable_data<T>());
  return t.to(target);
}
}  // namespace

Tensor Tensor::from(std::span<const float> values, Shape shape, Target target) {
  return from_span(values, std::move(shape), target);
}
Tensor Tensor::from(std::span<const int64_t> values, Shape shape, Target target) {
  return from_span(values, std::move(shape), target);
}
Tensor Tensor::from(std::span<const double> values, Shape shape, Target target) {
  return from_span(values, std::move(shape), target);
}
Tensor Tensor::from(std::span<const uint32_t> values, Shape shape, Target target) {
  return from_span(values, std::move(shape), target);
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

bool Tensor::is_borrowed() const {
  return storage_ != nullptr && storage_->is_borrowed();
}

void* Tensor::address(Dtype wanted) const {
  require(storage_ != nullptr, "empty tensor");
  require(dtype_ == wanted, "tensor holds {}, not {}", name_of(dtype_), name_of(wanted));
  return static_cast<char*>(storage_->data()) + offset_ * size_of(dtype_);
}

void Tensor::touch() {
  require(storage_ != nullptr, "empty tensor");
  storage_->touch();
  if (step_scope() != nullptr && step_scope()->recording) step_scope()->changed.push_back(storage_);
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

Tensor Tensor::whole() const {
  require(storage_ != nullptr, "empty tensor");
  Tensor t = *this;
  t.offset_ = 0;
  t.numel_ = storage_->bytes() / size_of(dtype_);
  t.shape_ = {t.numel_};
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
  const Target here = target(), there = source.target();
  if (here != there && here != Target::cpu && there != Target::cpu)
    return copy_from(source.to(Target::cpu));
  const kernels::Copy direction = here == there          ? kernels::Copy::within
                                  : there == Target::cpu ? kernels::Copy::to_device
                                                         : kernels::Copy::to_host;
  touch();
  runtime(direction == kernels::Copy::to_host ? there : here)
      .copy(address(dtype_), source.address(dtype_), static_cast<size_t>(numel_ * size_of(dtype_)),
            direction, {});
}

std::vector<float> Tensor::to_vector() const {
  const Tensor host = to(Target::cpu);
  if (dtype_ != Dtype::bf16) return {host.data(), host.data() + numel_};
  std::vector<float> values(static_cast<size_t>(numel_));
  std::transform(host.data<kernels::bf16>(), host.data<kernels::bf16>() + numel_, values.begin(),
                 [](kernels::bf16 v) { return kernels::to_float(v); });
  return values;
}

Tensor Tensor::derived(const std::string& key, const std::function<Tensor()>& compute) const {
  require(storage_ != nullptr, "empty tensor");
  const std::lock_guard lock(storage_->derived_mutex);
  const std::string full_key =
      fmt::format("{}@{}:{}{}", key, offset_, name_of(dtype_), to_string(shape_));
  Storage::Derived& entry = storage_->derived[full_key];
  const bool stale = !entry.value || entry.version != storage_->version();
  if (stale) entry = {storage_->version(), compute()};
  if (step_scope() != nullptr && step_scope()->recording)
    step_scope()->read_derived(storage_, full_key, entry.value, entry.version, stale);
  return entry.value;
}

}  // namespace diffscm
