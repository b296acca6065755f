// In which type a file of tensors keeps its floating-point numbers.
#pragma once

#include "engine/io/file.h"
#include "engine/tensor.h"

namespace diffscm::io {

enum class StoredFloats { f32, f16, bf16 };

// "f32", "f16" or "bf16". Throws Error on anything else.
StoredFloats parse_stored_floats(std::string_view name);

// The numbers of a tensor as a file has them: of f32 rounded to that type, to nearest, ties to
// even; of i64 as they are. Throws Error naming the tensor when a finite number becomes infinite.
Bytes stored_bytes(std::string_view name, const Tensor& tensor, StoredFloats type);

}  // namespace diffscm::io
