#include "engine/io/stored_floats.h"

#include <cmath>
#include <cstring>

#include "engine/io/half.h"
#include "kernels/bfloat16.h"
#include "kernels/error.h"

namespace diffscm::io {

StoredFloats parse_stored_floats(std::string_view name) {
  if (name == "f32") return StoredFloats::f32;
  if (name == "f16") return StoredFloats::f16;
  if (name == "bf16") return StoredFloats::bf16;
  fail("no type of numbers is called {}: give f32, f16 or bf16", show(name));
}

Bytes stored_bytes(std::string_view name, const Tensor& tensor, StoredFloats type) {
  const Tensor host = tensor.to(Target::cpu);
  const auto copy = [](const auto* numbers, int64_t count) {
    Bytes bytes(static_cast<size_t>(count) * sizeof *numbers);
    if (count > 0) std::memcpy(bytes.data(), numbers, bytes.size());
    return bytes;
  };
  if (host.dtype() == Dtype::i64) return copy(host.data_i64(), host.numel());
  if (type == StoredFloats::f32) return copy(host.data(), host.numel());
  std::vector<uint16_t> rounded(static_cast<size_t>(host.numel()));
  for (size_t i = 0; i < rounded.size(); ++i) {
    const float value = host.data()[i];
    const bool half = type == StoredFloats::f16;
    rounded[i] = half ? half_of_float(value) : kernels::to_bf16(value).bits;
    require(!std::isfinite(value) ||
                std::isfinite(half ? float_of_half(rounded[i]) : float_of_bfloat16(rounded[i])),
            "tensor {} has {}, which is too large for {}", show(name), value,
            half ? "f16, which ends at 65504" : "bf16");
  }
  return copy(rounded.data(), host.numel());
}

}  // namespace diffscm::io
